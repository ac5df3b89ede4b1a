//! What a program tells its supervisor: the datagrams of sd_notify(3), lines of `NAME=value`.
//!
//! Names that we do not know are ignored, as the protocol asks. A datagram larger than [`MAX_DATAGRAM`] is cut by
//! the kernel and its last line may be lost.

/// Bytes of a datagram that are read.
pub const MAX_DATAGRAM: usize = 4096;
/// Characters of a `STATUS=` text that are kept.
pub const MAX_STATUS: usize = 200;

/// What was said, in the order in which it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// `READY=1`: start-up is finished.
    Ready,
    /// `STOPPING=1`: it is ending by itself.
    Stopping,
    /// `STATUS=…`: a line for people.
    Status(String),
    /// `X_REGIE_GENERATION=1`: it wants a new generation of itself (its opcache is full or was reset).
    Generation,
}

/// Reads a datagram.
#[must_use]
pub fn parse(datagram: &[u8]) -> Vec<Message> {
    String::from_utf8_lossy(datagram)
        .lines()
        .filter_map(|line| match line.split_once('=')? {
            ("READY", "1") => Some(Message::Ready),
            ("STOPPING", "1") => Some(Message::Stopping),
            ("X_REGIE_GENERATION", "1") => Some(Message::Generation),
            ("STATUS", text) => {
                let plain = text.chars().filter(|c| !c.is_control()).take(MAX_STATUS).collect();
                Some(Message::Status(plain))
            }
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_and_strangers_ignored() {
        for (datagram, expected) in [
            (&b"READY=1\n"[..], vec![Message::Ready]),
            (b"READY=1", vec![Message::Ready]),
            (
                b"STATUS=8 workers\x1b[31m\nREADY=1\nMAINPID=3",
                vec![Message::Status("8 workers[31m".into()), Message::Ready],
            ),
            (b"X_REGIE_GENERATION=1", vec![Message::Generation]),
            (b"STOPPING=1\n", vec![Message::Stopping]),
            (b"READY=0\nready=1\nREADY\n\xff\xfe", vec![]),
            (b"", vec![]),
        ] {
            assert_eq!(parse(datagram), expected, "{}", String::from_utf8_lossy(datagram));
        }
    }
}
