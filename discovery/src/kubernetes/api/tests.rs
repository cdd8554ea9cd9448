//! Requests: what they bear, and what becomes of answers that are wrong, endless, silent or too large.

use bytes::Bytes;
use futures::channel::mpsc::unbounded;
use serde_json::{Value, json};

use super::*;
use crate::kubernetes::testing::{Fake, Reply};

const TOKEN: &str = "very-secret-token";

async fn fault(fake: &Fake) -> Fault {
    let (api, _token) = fake.api_with_token(TOKEN);
    let answer = api.fetch::<Value>("/x", Form::Full, 1000).await;
    answer.expect_err("no good answer")
}

#[tokio::test]
async fn the_newest_token_goes_with_each_request() {
    let fake = Fake::default();
    let (mut api, token) = fake.api_with_token("one");
    api.get::<Value>("/things").await.expect("an answer");
    assert!(!api.has_newer_token());
    token.send_replace(Secret::new("two"));
    assert!(api.has_newer_token());
    api.newer_token().await;
    assert!(!api.has_newer_token());
    api.get::<Value>("/things").await.expect("an answer");
    let sent: Vec<_> = fake
        .asked()
        .into_iter()
        .map(|asked| asked.authorization)
        .collect();
    assert_eq!(sent, ["Bearer one", "Bearer two"]);
    assert!(
        fake.asked()
            .iter()
            .all(|asked| asked.accept == "application/json")
    );
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_no_success_become_faults() {
    let said = |text: &str| json!({"kind": "Status", "message": text});
    let table = [
        (401, said("x"), Fault::Unauthorized),
        (403, said("no\nlist"), Fault::Forbidden("no list".into())),
        (404, json!("not an object"), Fault::NotFound(String::new())),
        (410, said("x"), Fault::Gone),
        (422, said("x"), Fault::Unprocessable("x".into())),
        (
            429,
            said("x"),
            Fault::Busy {
                status: 429,
                retry_after: None,
            },
        ),
        (
            500,
            said("boom"),
            Fault::Status {
                status: 500,
                message: "boom".into(),
            },
        ),
    ];
    for (status, body, expected) in table {
        let fake = Fake::default();
        fake.script("/x", Reply::Status(status, body));
        assert_eq!(fault(&fake).await, expected);
    }
    let fake = Fake::default();
    fake.script("/x", Reply::Broken);
    assert_eq!(
        fault(&fake).await,
        Fault::Unreachable("connection refused".into())
    );
    fake.script("/x", Reply::Never);
    assert_eq!(fault(&fake).await, Fault::Silent(HEAD));
    fake.script("/x", Reply::Bytes(Bytes::from(vec![b' '; 1001])));
    assert_eq!(fault(&fake).await, Fault::TooLarge(1000));
}

#[tokio::test(start_paused = true)]
async fn neither_silence_nor_dripping_holds_a_request_for_ever() {
    let fake = Fake::default();
    let (silent, pieces) = unbounded();
    fake.script("/x", Reply::Stream(pieces));
    silent.unbounded_send(Bytes::from("{")).expect("it listens");
    assert_eq!(fault(&fake).await, Fault::Silent(FRAME));

    let (dripping, pieces) = unbounded();
    fake.script("/x", Reply::Stream(pieces));
    let drip = tokio::spawn(async move {
        while dripping.unbounded_send(Bytes::from(" ")).is_ok() {
            tokio::time::sleep(FRAME / 2).await;
        }
    });
    assert_eq!(fault(&fake).await, Fault::Silent(WHOLE));
    drip.await.expect("it ends with the request");
}

#[tokio::test]
async fn no_credential_and_no_content_gets_into_a_fault() {
    let fake = Fake::default();
    let echo = json!({"message": format!("you sent {TOKEN}, {TOKEN}")});
    fake.script("/x", Reply::Status(500, echo));
    let said = fault(&fake).await.to_string();
    assert!(
        said.contains("you sent (hidden)") && !said.contains(TOKEN),
        "{said}"
    );
    fake.script("/x", Reply::Bytes(Bytes::from(format!("{{\"a\": {TOKEN}"))));
    let said = fault(&fake).await.to_string();
    assert!(said.contains("line 1") && !said.contains(TOKEN), "{said}");
}

#[tokio::test(start_paused = true)]
async fn lines_are_cut_and_bounded() {
    let fake = Fake::default();
    let (sender, pieces) = unbounded();
    fake.script("/x", Reply::Stream(pieces));
    for piece in ["one\n\ntw", "o\nthr", "ee\nrest"] {
        sender
            .unbounded_send(Bytes::from(piece))
            .expect("it listens");
    }
    drop(sender);
    let mut lines = fake.api().lines("/x", Form::Full, 10).await.expect("lines");
    for expected in ["one", "two", "three"] {
        let line = lines
            .next(FRAME)
            .await
            .expect("a line")
            .expect("not the end");
        assert_eq!(line, expected.as_bytes());
    }
    assert_eq!(lines.next(FRAME).await, Ok(None), "half a line is none");

    let (sender, pieces) = unbounded();
    fake.script("/x", Reply::Stream(pieces));
    sender
        .unbounded_send(Bytes::from("a very long line"))
        .expect("it listens");
    let mut lines = fake.api().lines("/x", Form::Full, 10).await.expect("lines");
    assert_eq!(lines.next(FRAME).await, Err(Fault::TooLarge(10)));
}
