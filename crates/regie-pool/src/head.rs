//! The parameters of a request, laid out so that a carrier sends them without copying.
//!
//! The buffer begins with room for the two records that FastCGI puts before the parameters, and it is given back to
//! a small stock of its thread when the request is written, so that a busy gateway allocates nothing here.

use std::cell::RefCell;

use regie_fastcgi::params;

/// Bytes before the first pair: the record that begins a request (16) and the header of the parameters (8).
pub(crate) const HEADROOM: usize = 24;

/// Buffers that a thread keeps for the next requests, and the largest that is worth keeping.
const STOCK: usize = 64;
const KEEP_MAX: usize = 16 * 1024;

thread_local! {
    static STOCKED: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Name-value pairs of CGI/1.1 (RFC 3875, section 4.1).
#[derive(Debug)]
pub struct Head {
    buffer: Vec<u8>,
}

impl Default for Head {
    fn default() -> Self {
        Self::new()
    }
}

impl Head {
    /// An empty list, in a buffer that was used before when there is one.
    #[must_use]
    pub fn new() -> Self {
        let mut buffer = STOCKED.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(2 * 1024));
        buffer.resize(HEADROOM, 0);
        Self { buffer }
    }

    /// Adds a pair. Names are not looked at: of two pairs with one name PHP takes the later.
    pub fn push(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        params::put_pair(&mut self.buffer, name.as_ref(), value.as_ref());
    }

    /// The pairs as they go over the wire.
    #[must_use]
    pub fn pairs(&self) -> &[u8] {
        &self.buffer[HEADROOM..]
    }

    /// The value of `name`, the last one when there are several.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        params::pairs(self.pairs())
            .map_while(Result::ok)
            .filter(|(found, _)| *found == name.as_bytes())
            .last()
            .map(|(_, value)| value)
    }

    /// The buffer with its headroom, for a carrier that completes it in place.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Gives a buffer to this thread's stock.
    pub(crate) fn give_back(mut buffer: Vec<u8>) {
        if buffer.capacity() == 0 || buffer.capacity() > KEEP_MAX {
            return;
        }
        buffer.clear();
        STOCKED.with_borrow_mut(|stock| {
            if stock.len() < STOCK {
                stock.push(buffer);
            }
        });
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        Self::give_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_found_and_the_buffer_is_used_again() {
        let mut head = Head::new();
        head.push("A", "1");
        head.push("A", "2");
        head.push("B", "");
        assert_eq!(head.get("A"), Some(&b"2"[..]));
        assert_eq!(head.get("B"), Some(&b""[..]));
        assert_eq!(head.get("C"), None);
        let address = head.buffer.as_ptr();
        drop(head);
        let again = Head::new();
        assert_eq!(again.buffer.as_ptr(), address);
        assert_eq!(again.pairs(), b"");
    }
}
