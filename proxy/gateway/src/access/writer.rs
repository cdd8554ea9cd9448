//! A thread that writes lines, so that a slow disk or a full pipe stops nobody else. It must not know what a line says.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::Context;
use tokio::sync::oneshot;

use super::Counts;

/// Lines that wait at most.
const WAITING: usize = 4_096;

/// Bytes that are written at once.
const BATCH: usize = 64 << 10;

/// The thread's inbox.
#[derive(Debug)]
pub(super) struct Writer {
    inbox: SyncSender<Message>,
    counts: Arc<Counts>,
}

#[derive(Debug)]
enum Message {
    Line(String),
    Reopen,
    Flush(oneshot::Sender<()>),
}

enum Sink {
    Standard,
    File(File),
}

impl Writer {
    /// `-` is standard output. The thread ends with the last handle.
    ///
    /// # Errors
    /// When the file cannot be opened, or there is no thread to be had.
    pub(super) fn start(path: &Path, counts: Arc<Counts>) -> anyhow::Result<Self> {
        let (inbox, messages) = sync_channel(WAITING);
        let sink = Sink::open(path).with_context(|| {
            format!(
                "accessLog.path: {} cannot be opened for appending",
                path.display()
            )
        })?;
        let (path, of_thread) = (path.to_owned(), counts.clone());
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(&messages, sink, &path, &of_thread))?;
        Ok(Self { inbox, counts })
    }

    /// Has a line written, or lost if too many wait.
    pub(super) fn write(&self, line: String) {
        if self.inbox.try_send(Message::Line(line)).is_err() {
            self.counts.lost.fetch_add(1, Relaxed);
        }
    }

    /// Has the file opened again.
    pub(super) fn reopen(&self) {
        // So many lines wait that the sink is stuck; opening it again can wait for the next request.
        let _ = self.inbox.try_send(Message::Reopen);
    }

    /// Waits until what was handed over before is written.
    pub(super) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.inbox.try_send(Message::Flush(done)).is_ok() {
            let _ = written.await;
        }
    }
}

fn write_all(messages: &Receiver<Message>, mut sink: Sink, path: &Path, counts: &Counts) {
    let mut batch = String::new();
    let mut lines = 0;
    while let Ok(first) = messages.recv() {
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Line(line) => {
                    batch.push_str(&line);
                    lines += 1;
                }
                Message::Reopen => {
                    write_batch(&mut sink, &mut batch, &mut lines, counts);
                    match Sink::open(path) {
                        Ok(opened) => sink = opened,
                        Err(fault) => {
                            tracing::warn!(%fault, path = %path.display(), "the access log cannot be opened again; it goes on where it was");
                        }
                    }
                }
                Message::Flush(done) => {
                    write_batch(&mut sink, &mut batch, &mut lines, counts);
                    let _ = done.send(());
                }
            }
            next = (batch.len() < BATCH)
                .then(|| messages.try_recv().ok())
                .flatten();
        }
        write_batch(&mut sink, &mut batch, &mut lines, counts);
    }
}

fn write_batch(sink: &mut Sink, batch: &mut String, lines: &mut u64, counts: &Counts) {
    if batch.is_empty() {
        return;
    }
    let count = match sink.write(batch.as_bytes()) {
        Ok(()) => &counts.written,
        Err(_) => &counts.lost,
    };
    count.fetch_add(*lines, Relaxed);
    *lines = 0;
    batch.clear();
}

impl Sink {
    fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Standard);
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self::File(file))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Standard => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Self::File(file) => file.write_all(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(n: usize) -> String {
        format!("{n:04}\n")
    }

    #[tokio::test]
    async fn lines_reach_the_file_also_when_it_was_moved_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("access.log");
        let counts = Arc::new(Counts::default());
        let writer = Writer::start(&path, counts.clone()).expect("it starts");
        writer.write(line(1));
        writer.flush().await;
        let moved = folder.path().join("access.log.1");
        std::fs::rename(&path, &moved).expect("moved");
        writer.write(line(2));
        writer.reopen();
        writer.write(line(3));
        writer.flush().await;
        let read = |path| std::fs::read_to_string(path).expect("there");
        assert_eq!((read(&moved), read(&path)), (line(1) + &line(2), line(3)));
        assert_eq!(counts.written.load(Relaxed), 3);
    }

    /// Nobody reads the pipe, so it fills up: writing returns all the same, and says what was lost.
    #[tokio::test]
    async fn a_full_pipe_loses_lines_and_stops_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo is there");
        // Open at both ends, so that opening it for writing does not wait for a reader.
        let pipe = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .expect("open");
        let counts = Arc::new(Counts::default());
        let writer = Writer::start(&path, counts.clone()).expect("it starts");
        let long = "x".repeat(1_023) + "\n";
        for _ in 0..WAITING * 2 {
            writer.write(long.clone());
        }
        assert!(counts.lost.load(Relaxed) > 0);
        drop(pipe);
    }

    #[test]
    fn a_path_that_cannot_be_opened_is_named() {
        let fault = Writer::start(Path::new("/nowhere/at/all"), Arc::default());
        let fault = fault.expect_err("no such folder").to_string();
        assert!(fault.contains("/nowhere/at/all"), "{fault}");
    }
}
