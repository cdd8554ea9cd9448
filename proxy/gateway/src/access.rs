//! The access log: what the data path reports of connections that ended becomes lines, and the latest failures are kept.
//! Nothing here can hold a connection up: what there is no room for is lost and counted.

mod failures;
mod record;
mod text;
mod writer;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;
use proxy::access::Report;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub(crate) use self::failures::{Failures, KEPT};
pub(crate) use self::record::{Record, time};
use self::writer::Writer;
use crate::config::{AccessLog, AccessLogFormat};

/// How long the last lines may take to be written when the gateway stops.
const LAST_LINES: Duration = Duration::from_secs(1);

/// A running access log.
pub(crate) struct Log {
    /// The latest failures.
    pub(crate) failures: Arc<Failures>,
    counts: Arc<Counts>,
    writer: Arc<Writer>,
    recording: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

/// What became of lines.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Written.
    pub(crate) written: AtomicU64,
    /// Lost, because whoever takes them was too slow or failed.
    pub(crate) lost: AtomicU64,
    /// Failures that were not reported, because there were too many of their reason.
    pub(crate) omitted: AtomicU64,
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
        let counts = Arc::new(Counts::default());
        let failures = Arc::new(Failures::default());
        let writer = Arc::new(Writer::start(&config.path, counts.clone())?);
        let recorder = Recorder {
            format: config.format,
            failures: failures.clone(),
            counts: counts.clone(),
            writer: writer.clone(),
        };
        let (stop, stopped) = oneshot::channel();
        let recording = reports.map(|reports| tokio::spawn(recorder.run(reports, stopped)));
        Ok(Self {
            failures,
            counts,
            writer,
            recording: Mutex::new(recording.map(|task| (stop, task))),
        })
    }

    /// What became of lines so far.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
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
    counts: Arc<Counts>,
    writer: Arc<Writer>,
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
            self.counts.omitted.fetch_add(report.omitted, Relaxed);
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
