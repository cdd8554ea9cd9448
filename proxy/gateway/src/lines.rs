//! A thread that writes lines, so that a slow disk or a full pipe stops nobody else. It must not know what a line says.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Receiver, SendError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

/// Lines that wait at most.
const WAITING: usize = 4_096;

/// Bytes that are written at once.
const BATCH: usize = 64 << 10;

/// How long a start waits for a file to open: that of a named pipe waits for a reader (fifo(7)), perhaps for ever.
const OPENING: Duration = Duration::from_secs(1);

/// How soon a full inbox is tried again.
const AGAIN: Duration = Duration::from_millis(5);

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
    /// The end of a file.
    File(PathBuf),
}

/// The thread's inbox. The thread ends with the last one.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    inbox: SyncSender<Message>,
    counts: Arc<Counts>,
    /// To be opened again, although the inbox was too full to say so.
    reopen: Arc<AtomicBool>,
}

/// What became of lines.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Written.
    pub(crate) written: AtomicU64,
    /// Lost, because whoever takes them was too slow or failed.
    pub(crate) lost: AtomicU64,
}

#[derive(Debug)]
enum Message {
    Line(String),
    Reopen,
    Flush(oneshot::Sender<()>),
}

enum Sink {
    Output,
    Error,
    File(File),
}

impl Writer {
    /// Starts the thread, which has this name.
    ///
    /// # Errors
    /// When the file cannot be opened, or there is no thread to be had.
    pub(crate) fn start(name: &str, to: To) -> io::Result<Self> {
        let (inbox, messages) = sync_channel(WAITING);
        let counts = Arc::new(Counts::default());
        let reopen = Arc::new(AtomicBool::new(false));
        // Without a place for an answer, so that one is either heard or known not to be.
        let (opened, open) = sync_channel(0);
        let (of_thread, place, wanted) = (counts.clone(), to.clone(), reopen.clone());
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let sink = match Sink::open(&place) {
                    Ok(sink) => {
                        // Who asked may have stopped waiting.
                        let _ = opened.send(Ok(()));
                        Some(sink)
                    }
                    Err(fault) => match opened.send(Err(fault)) {
                        Ok(()) => return,
                        Err(SendError(answer)) => {
                            let fault = answer.err();
                            tracing::warn!(?fault, to = ?place, "it cannot be opened; lines are lost until it is opened again, which SIGHUP asks for");
                            None
                        }
                    },
                };
                write_all(&messages, sink, &place, &of_thread, &wanted);
            })?;
        match open.recv_timeout(OPENING) {
            Ok(result) => result?,
            Err(_) => {
                tracing::warn!(
                    ?to,
                    "it does not open yet; lines wait, and are lost beyond {WAITING}"
                );
            }
        }
        Ok(Self {
            inbox,
            counts,
            reopen,
        })
    }

    /// What became of lines so far.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Has a line written, or lost if too many wait.
    pub(crate) fn write(&self, line: String) {
        if self.inbox.try_send(Message::Line(line)).is_err() {
            self.counts.lost.fetch_add(1, Relaxed);
        }
    }

    /// Has the file opened again.
    pub(crate) fn reopen(&self) {
        if self.inbox.try_send(Message::Reopen).is_err() {
            self.reopen.store(true, Relaxed);
        }
    }

    /// Waits until what was handed over before is written.
    pub(crate) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(back)) = self.inbox.try_send(message) {
            message = back;
            tokio::time::sleep(AGAIN).await;
        }
        // Where the thread has ended, that is known at once.
        let _ = written.await;
    }
}

fn write_all(
    messages: &Receiver<Message>,
    mut sink: Option<Sink>,
    to: &To,
    counts: &Counts,
    reopen: &AtomicBool,
) {
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
                    open_again(&mut sink, to);
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
        if reopen.swap(false, Relaxed) {
            open_again(&mut sink, to);
        }
    }
}

fn open_again(sink: &mut Option<Sink>, to: &To) {
    match Sink::open(to) {
        Ok(opened) => *sink = Some(opened),
        Err(fault) => {
            tracing::warn!(%fault, ?to, "it cannot be opened again; lines go where they went");
        }
    }
}

fn write_batch(sink: &mut Option<Sink>, batch: &mut String, lines: &mut u64, counts: &Counts) {
    if batch.is_empty() {
        return;
    }
    let written = sink.as_mut().map(|sink| sink.write(batch.as_bytes()));
    let count = match written {
        Some(Ok(())) => &counts.written,
        Some(Err(_)) | None => &counts.lost,
    };
    count.fetch_add(*lines, Relaxed);
    *lines = 0;
    batch.clear();
}

impl Sink {
    fn open(to: &To) -> io::Result<Self> {
        Ok(match to {
            To::Output => Self::Output,
            To::Error => Self::Error,
            To::File(path) => Self::File(append(path)?),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Output => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            // It has no buffer.
            Self::Error => io::stderr().lock().write_all(bytes),
            Self::File(file) => file.write_all(bytes),
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
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
        let writer = Writer::start("test", To::File(path.clone())).expect("it starts");
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
        assert_eq!(writer.counts().written.load(Relaxed), 3);
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
        let writer = Writer::start("test", To::File(path)).expect("it starts");
        let long = "x".repeat(1_023) + "\n";
        for _ in 0..WAITING * 2 {
            writer.write(long.clone());
        }
        assert!(writer.counts().lost.load(Relaxed) > 0);
        drop(pipe);
    }

    /// Opening it waits for somebody who reads it; a gateway that starts does not.
    #[tokio::test]
    async fn a_pipe_that_nobody_has_opened_yet_stops_nobody_either() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo is there");
        let writer = Writer::start("test", To::File(path.clone())).expect("it starts");
        writer.write(line(1));
        let mut reader = File::open(&path).expect("its other end");
        let mut read = [0; 5];
        io::Read::read_exact(&mut reader, &mut read).expect("the line waited");
        assert_eq!(read, line(1).as_bytes());
    }

    /// What fits is handed over before the flush, however much that is; nothing of it is lost to who waits.
    #[tokio::test]
    async fn a_flush_waits_for_room_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo is there");
        let mut pipe = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .expect("open");
        let writer = Writer::start("test", To::File(path)).expect("it starts");
        // More than the pipe, the batch and the inbox hold.
        let long = "x".repeat(1_023) + "\n";
        while writer.counts().lost.load(Relaxed) == 0 {
            writer.write(long.clone());
        }
        let reader = std::thread::spawn(move || {
            let mut some = vec![0; 64 << 10];
            let mut all = 0;
            while all < (WAITING << 10) {
                all += io::Read::read(&mut pipe, &mut some).expect("read");
            }
        });
        writer.flush().await;
        assert!(writer.counts().written.load(Relaxed) >= WAITING as u64);
        reader.join().expect("it read");
    }

    #[test]
    fn a_path_that_cannot_be_opened_is_an_error() {
        let nowhere = To::File("/nowhere/at/all".into());
        Writer::start("test", nowhere).expect_err("no such folder");
    }
}
