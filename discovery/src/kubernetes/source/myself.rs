//! Who we are, from our own API server; or, where that does not answer, as it said before. It must not decide what an answer
//! means.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::kubernetes::client::Home;
use crate::kubernetes::disk::{Disk, KeptMyself};
use crate::kubernetes::follow::Backoff;
use crate::kubernetes::settings::Settings;
use crate::kubernetes::whoami::{self, Answers, WhoAmI, WhoAmIError};

/// How long our own API is asked who we are before it is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// The same where the disk has an answer: that of a server that is merely slow is waited for no longer.
const HASTE: Duration = Duration::from_secs(2);

/// Finds out who we are, and keeps it on disk. Where the disk had to say it, `doubts` gets a task that asks until there is an
/// answer, and says how that differs.
pub(super) async fn find(
    home: &Home,
    settings: &Settings,
    disk: &Option<Disk>,
    kept: Option<KeptMyself>,
    doubts: &mut JoinSet<Option<String>>,
) -> Result<WhoAmI, WhoAmIError> {
    let before = kept.as_ref().and_then(|kept| decide(kept, settings, home));
    let Some(before) = before else {
        let (me, answers) = ask(home, settings, Some(PATIENCE)).await?;
        save(disk, kept, settings, answers);
        return Ok(me);
    };
    let asked = whoami::find(&home.api, settings, &home.namespace);
    match timeout(HASTE, asked).await {
        Ok(Err(WhoAmIError::Api(_))) | Err(_) => {}
        Ok(found) => {
            let (me, answers) = found?;
            save(disk, kept, settings, answers);
            return Ok(me);
        }
    }
    tracing::warn!(
        server = home.server,
        "our own cluster does not say who we are; what it said before is taken from disk"
    );
    let (home, settings, disk, me) = (home.clone(), settings.clone(), disk.clone(), before.clone());
    doubts.spawn(async move {
        let (now, answers) = match ask(&home, &settings, None).await {
            Ok(found) => found,
            Err(fault) => return Some(differs(&fault.to_string())),
        };
        save(&disk, kept, &settings, answers);
        differing(&me, &now).map(|what| differs(&what))
    });
    Ok(before)
}

fn decide(kept: &KeptMyself, settings: &Settings, home: &Home) -> Option<WhoAmI> {
    let mut answers = kept.answers.clone();
    if kept.pod != settings.pod.name {
        answers = answers.of_another_pod();
    }
    answers.decide(settings, &home.namespace).ok()
}

/// Asks until there is an answer; with a limit no longer than that.
async fn ask(
    home: &Home,
    settings: &Settings,
    limit: Option<Duration>,
) -> Result<(WhoAmI, Answers), WhoAmIError> {
    let begun = Instant::now();
    let mut backoff = Backoff::default();
    loop {
        match whoami::find(&home.api, settings, &home.namespace).await {
            Err(WhoAmIError::Api(fault)) if limit.is_none_or(|limit| begun.elapsed() < limit) => {
                tracing::warn!(server = home.server, %fault, "our own cluster does not say who we are; it is asked again");
                sleep(backoff.next(None)).await;
            }
            found => return found,
        }
    }
}

/// Writes the answers where they are others than before. A disk that refuses is told of by those who write to it all the
/// time.
fn save(disk: &Option<Disk>, kept: Option<KeptMyself>, settings: &Settings, answers: Answers) {
    let myself = KeptMyself {
        pod: settings.pod.name.clone(),
        answers,
    };
    if let Some(disk) = disk.clone().filter(|_| kept.as_ref() != Some(&myself)) {
        tokio::task::spawn_blocking(move || {
            if let Err(fault) = disk.save_myself(&myself) {
                tracing::warn!(%fault, "who we are cannot be kept on disk for the next start");
            }
        });
    }
}

fn differs(what: &str) -> String {
    let message = format!(
        "our own cluster says otherwise of us than the disk did: {what}; start the gateway anew"
    );
    tracing::warn!("{message}");
    message
}

/// What of it others depend on and is not the same.
fn differing(before: &WhoAmI, now: &WhoAmI) -> Option<String> {
    let text = |me: &WhoAmI| {
        [
            ("cluster", me.cluster.value.clone()),
            ("network", me.network.value.clone()),
            ("locality", me.locality.value.to_string()),
            ("labels", labels(me)),
        ]
    };
    let both = text(before).into_iter().zip(text(now));
    let differing = both.filter(|(before, now)| before != now);
    let differing: Vec<String> = differing
        .map(|((what, before), (_, now))| format!("{what} is {now}, not {before}"))
        .collect();
    (!differing.is_empty()).then(|| differing.join(", "))
}

/// As text, without what is another with each version of a Deployment and selects nobody.
fn labels(me: &WhoAmI) -> String {
    let labels = me.labels.value.iter();
    let lasting = labels.filter(|(key, _)| !key.ends_with("-hash"));
    let texts: Vec<String> = lasting
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    texts.join(",")
}
