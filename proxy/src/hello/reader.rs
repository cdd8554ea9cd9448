//! A cursor over bytes that came off the wire: every read may find too little, none panics.

use super::Reject;

/// Reads TLS's presentation language (RFC 8446 section 3) from a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether everything is read.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Reject> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(Reject::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    /// The next byte.
    pub(super) fn u8(&mut self) -> Result<u8, Reject> {
        let (&[byte], tail) = self.0.split_first_chunk().ok_or(Reject::Truncated)?;
        self.0 = tail;
        Ok(byte)
    }

    /// The next two bytes, big-endian.
    pub(super) fn u16(&mut self) -> Result<u16, Reject> {
        let (&pair, tail) = self.0.split_first_chunk().ok_or(Reject::Truncated)?;
        self.0 = tail;
        Ok(u16::from_be_bytes(pair))
    }

    /// A vector with a length of one byte before it.
    pub(super) fn vec8(&mut self) -> Result<&'a [u8], Reject> {
        let len = self.u8()?;
        self.take(usize::from(len))
    }

    /// A vector with a length of two bytes before it.
    pub(super) fn vec16(&mut self) -> Result<&'a [u8], Reject> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// That everything is read.
    pub(super) const fn finish(self) -> Result<(), Reject> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Reject::TrailingBytes)
        }
    }
}
