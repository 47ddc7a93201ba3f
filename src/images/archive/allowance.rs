//! A reader that is told how much may be read of it.
//!
//! What stands before an entry of an archive (long names, extended headers, lists of holes) is read whole by the library
//! that reads archives, however much it is. An [`Allowance`] says how much it may be.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// What may still be read.
#[derive(Clone, Debug, Default)]
pub(super) struct Allowance(Rc<Cell<Option<u64>>>);

/// A reader under an allowance.
pub(super) struct Allowed<R> {
    input: R,
    allowance: Allowance,
}

impl Allowance {
    /// A reader of `input` under this allowance.
    pub(super) fn over<R: Read>(&self, input: R) -> Allowed<R> {
        Allowed { input, allowance: self.clone() }
    }

    /// Allows so many bytes from now on, and fails what would read more; anything goes after `None`.
    pub(super) fn set(&self, bytes: Option<u64>) {
        self.0.set(bytes);
    }

    /// Whether nothing is left of it.
    pub(super) fn is_used_up(&self) -> bool {
        self.0.get() == Some(0)
    }
}

impl<R: Read> Read for Allowed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(left) = self.allowance.0.get() else { return self.input.read(buffer) };
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::other("the archive has too much before an entry"));
        }
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.input.read(&mut buffer[..most])?;
        self.allowance.set(Some(left.saturating_sub(read as u64)));
        Ok(read)
    }
}
