//! The load against an endpoint without a gateway: all of it arrives and is counted, and a refusal is an error.

use super::*;
use crate::backend::{self, Manner};

async fn measure(work: Work, manner: Manner) -> Result<Outcome> {
    let (address, _serving) = backend::serve(([127, 0, 0, 1], 0).into(), manner).await?;
    run(Plan::new(address, work, 50, 4, 128, sidecar::HELLO_NAME)?).await
}

#[tokio::test]
async fn every_unit_of_work_is_counted_once() {
    for (work, manner) in [
        (Work::Connections, Manner::Answer),
        (Work::RoundTrips, Manner::Echo),
    ] {
        assert_eq!(measure(work, manner).await.unwrap().latency.len(), 50);
    }
}

#[tokio::test]
async fn an_end_that_is_no_answer_is_an_error() {
    let error = measure(Work::RoundTrips, Manner::Answer).await.unwrap_err();
    assert!(error.to_string().contains("early eof"), "{error:#}");
}
