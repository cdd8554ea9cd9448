//! Bodies of answers, read no further than a limit. It must not look into what they say.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use kube::client::Body;
use tokio::time::timeout;

use super::Fault;

/// A whole body, of at most so many bytes, whose pieces come within this time of each other.
pub(super) async fn collect(
    mut body: Body,
    limit: usize,
    patience: Duration,
) -> Result<Vec<u8>, Fault> {
    let mut whole = Vec::new();
    while let Some(data) = next(&mut body, patience).await? {
        if whole.len() + data.len() > limit {
            return Err(Fault::TooLarge(limit));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

/// A body as lines.
pub struct Lines {
    body: Body,
    /// What came after the last line that was given out.
    held: BytesMut,
    /// Bytes of `held` that are known to have no end of line.
    searched: usize,
    longest: usize,
}

impl Lines {
    pub(super) fn new(body: Body, longest: usize) -> Self {
        Self {
            body,
            held: BytesMut::new(),
            searched: 0,
            longest,
        }
    }

    /// The next line, without its end; `None` at the end of the body. What is left there without an end of line was cut
    /// off, and is no line.
    ///
    /// # Errors
    /// Silence for longer than `patience`, a line that is too long, a broken connection.
    pub async fn next(&mut self, patience: Duration) -> Result<Option<BytesMut>, Fault> {
        loop {
            let fresh = &self.held[self.searched..];
            if let Some(at) = fresh.iter().position(|byte| *byte == b'\n') {
                let line = self.held.split_to(self.searched + at);
                self.held.advance(1);
                self.searched = 0;
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            self.searched = self.held.len();
            if self.searched > self.longest {
                return Err(Fault::TooLarge(self.longest));
            }
            match next(&mut self.body, patience).await? {
                Some(data) => self.held.extend_from_slice(&data),
                None => return Ok(None),
            }
        }
    }
}

/// The next piece of data; `None` at the end.
async fn next(body: &mut Body, patience: Duration) -> Result<Option<bytes::Bytes>, Fault> {
    loop {
        let frame = match timeout(patience, body.frame()).await {
            Ok(Some(frame)) => frame.map_err(|fault| Fault::unreachable(&fault))?,
            Ok(None) => return Ok(None),
            Err(_) => return Err(Fault::Silent(patience)),
        };
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}
