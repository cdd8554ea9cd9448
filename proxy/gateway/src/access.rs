//! The access log: what the data path reports of connections that ended becomes lines, and the latest failures are kept.
//! Nothing here can hold a connection up: what there is no room for is lost and counted.

mod failures;
mod record;
mod text;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use proxy::access::Report;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub(crate) use self::failures::{Failures, KEPT};
pub(crate) use self::record::{Record, time};
use crate::config::{AccessLog, AccessLogFormat};
use crate::lines::{self, To, Writer};

/// How long the last lines may take to be written when the gateway stops.
const LAST_LINES: Duration = Duration::from_secs(1);

/// A running access log.
pub(crate) struct Log {
    /// The latest failures.
    pub(crate) failures: Arc<Failures>,
    omitted: Arc<AtomicU64>,
    writer: Writer,
    recording: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Log {
    /// Writes what is reported from now on. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(crate) fn start(
        config: &AccessLog,
        reports: Option<mpsc::Receiver<Report>>,
    ) -> anyhow::Result<Self> {
        let omitted = Arc::new(AtomicU64::new(0));
        let failures = Arc::new(Failures::default());
        let to = match config.path == Path::new("-") {
            true => To::Output,
            false => To::File(config.path.clone()),
        };
        let writer = Writer::start("access-log", to).with_context(|| {
            format!(
                "accessLog.path: {} cannot be opened for appending",
                config.path.display()
            )
        })?;
        let recorder = Recorder {
            format: config.format,
            failures: failures.clone(),
            omitted: omitted.clone(),
            writer: writer.clone(),
        };
        let (stop, stopped) = oneshot::channel();
        let recording = reports.map(|reports| tokio::spawn(recorder.run(reports, stopped)));
        Ok(Self {
            failures,
            omitted,
            writer,
            recording: Mutex::new(recording.map(|task| (stop, task))),
        })
    }

    /// What became of lines so far.
    pub(crate) fn counts(&self) -> &lines::Counts {
        self.writer.counts()
    }

    /// Failures that were not reported, because there were too many of their reason.
    pub(crate) fn omitted(&self) -> u64 {
        self.omitted.load(Relaxed)
    }

    /// Opens the file again, for whoever has moved it away.
    pub(crate) fn reopen(&self) {
        self.writer.reopen();
    }

    /// Waits until everything that was reported is written, but not for ever. The data path has stopped by now.
    pub(crate) async fn finish(&self) {
        let recording = self.recording.lock().take();
        let all = async {
            if let Some((stop, recording)) = recording {
                let _ = stop.send(());
                let _ = recording.await;
            }
            self.writer.flush().await;
        };
        let _ = tokio::time::timeout(LAST_LINES, all).await;
    }
}

struct Recorder {
    format: AccessLogFormat,
    failures: Arc<Failures>,
    omitted: Arc<AtomicU64>,
    writer: Writer,
}

impl Recorder {
    /// Until it is told to stop, and then what was reported before.
    async fn run(self, mut reports: mpsc::Receiver<Report>, mut stopped: oneshot::Receiver<()>) {
        let mut stops = false;
        loop {
            let report = tokio::select! {
                report = reports.recv() => report,
                _ = &mut stopped, if !stops => {
                    stops = true;
                    reports.close();
                    continue;
                }
            };
            let Some(report) = report else {
                return;
            };
            self.omitted.fetch_add(report.omitted, Relaxed);
            let line = match self.format {
                AccessLogFormat::Json => Record::of(&report).line(),
                AccessLogFormat::Text => text::line(&report),
            };
            if report.close.is_failure() {
                self.failures.add(Record::of(&report));
            }
            self.writer.write(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use proxy::access::{Attempt, Outcome};
    use proxy::close::{Blame, Close, Reason, Stage};
    use proxy::config::Role;

    use super::*;

    /// A connection whose only endpoint refused.
    pub(super) fn report() -> Report {
        Report {
            began: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_235_806_123),
            duration: Duration::from_millis(42),
            listener: "0.0.0.0:15443".parse().expect("an address"),
            role: Role::Inbound,
            client: "10.1.0.7:40000".parse().expect("an address"),
            peer: None,
            name: Some("outbound_.5000_._.hello.default.svc.cluster.local".into()),
            alpn: ["istio"].into_iter().collect(),
            route: None,
            attempts: vec![Attempt {
                address: "10.0.1.5:9898".parse().expect("an address"),
                origin: Arc::default(),
                tier: 0,
                gateway: false,
                outcome: Outcome::Refused,
                took: Duration::from_millis(1),
            }],
            sent: 0,
            received: 0,
            first_byte: None,
            reject: None,
            close: Close::new(Stage::Dial, Reason::DialRefused, Blame::Upstream),
            omitted: 0,
        }
    }

    #[test]
    fn a_path_that_cannot_be_opened_is_named() {
        let config = AccessLog {
            path: "/nowhere/at/all".into(),
            ..AccessLog::default()
        };
        let fault = Log::start(&config, None).err().expect("no such folder");
        let fault = format!("{fault:#}");
        assert!(
            fault.contains("/nowhere/at/all") && fault.contains("No such file"),
            "{fault}"
        );
    }
}
