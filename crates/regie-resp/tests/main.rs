//! The codec as its users see it: tables, every cut of the stream, and mutations under a seed.

use regie_resp::{Encoder, Frame, Limits, Parsed, ProtocolError, RequestParser, Version, decode};

type Words = Vec<Vec<u8>>;

/// Feeds `stream` in pieces of `piece` bytes; the commands found, and the error that ended it.
fn commands(stream: &[u8], piece: usize, limits: &Limits) -> (Vec<Words>, Option<ProtocolError>) {
    let mut parser = RequestParser::default();
    let (mut buffer, mut found) = (Vec::new(), Vec::new());
    for chunk in stream.chunks(piece.max(1)) {
        buffer.extend_from_slice(chunk);
        loop {
            match parser.parse(&buffer, limits) {
                Ok(Parsed::Incomplete { wanted }) => {
                    assert!(wanted > 0);
                    break;
                }
                Ok(Parsed::Command { consumed }) => {
                    assert!(consumed > 0 && consumed <= buffer.len());
                    found.push(parser.arguments(&buffer).map(<[u8]>::to_vec).collect());
                    buffer.drain(..consumed);
                    parser.next();
                }
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

fn words(list: &[&str]) -> Words {
    list.iter().map(|word| word.as_bytes().to_vec()).collect()
}

#[test]
fn commands_are_found_however_the_stream_is_cut() {
    let stream =
        b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\n*0\r\n\r\n*1\r\n$0\r\n\r\nSET k \"a \\x41\\n\" 'it\\'s'\n";
    let expect = vec![
        words(&["GET", "a"]),
        words(&["PING"]),
        words(&[]),
        words(&[]),
        words(&[""]),
        words(&["SET", "k", "a A\n", "it's"]),
    ];
    for piece in 1..=stream.len() {
        let (found, error) = commands(stream, piece, &Limits::DEFAULT);
        assert_eq!((found, error), (expect.clone(), None), "pieces of {piece}");
    }
}

#[test]
fn what_breaks_the_protocol_gets_redis_s_words() {
    for (stream, expect) in [
        ("*x\r\n", "Protocol error: invalid multibulk length"),
        ("*3000000000\r\n", "Protocol error: invalid multibulk length"),
        ("*1\r\n:1\r\n", "Protocol error: expected '$', got ':'"),
        ("*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
        ("*1\r\n$2000000000\r\n", "Protocol error: invalid bulk length"),
        ("*1\r\n$x\r\n", "Protocol error: invalid bulk length"),
        ("SET a \"b\r\n", "Protocol error: unbalanced quotes in request"),
        ("SET a \"b\"c\r\n", "Protocol error: unbalanced quotes in request"),
    ] {
        let (_, error) = commands(stream.as_bytes(), 7, &Limits::DEFAULT);
        assert_eq!(error.map(|e| e.to_string()).as_deref(), Some(expect), "{stream:?}");
    }
    let long = vec![b'a'; 70_000];
    for (head, expect) in [
        ("", ProtocolError::LongInline),
        ("*", ProtocolError::LongCount),
        ("*1\r\n$", ProtocolError::LongLength),
    ] {
        let stream = [head.as_bytes(), &long].concat();
        assert_eq!(commands(&stream, 4096, &Limits::DEFAULT).1, Some(expect));
    }
}

#[test]
fn who_has_not_said_the_password_may_send_little() {
    for (stream, expect) in [
        ("*11\r\n", "Protocol error: unauthenticated multibulk length"),
        ("*1\r\n$16385\r\n", "Protocol error: unauthenticated bulk length"),
    ] {
        let (_, error) = commands(stream.as_bytes(), 64, &Limits::UNAUTHENTICATED);
        assert_eq!(error.map(|e| e.to_string()).as_deref(), Some(expect));
    }
}

#[test]
fn replies_are_read_back() {
    let mut encoder = Encoder::new(Version::Three);
    encoder.map(1);
    encoder.bulk(b"k");
    encoder.array(3);
    encoder.double(2.5);
    encoder.null();
    encoder.boolean(false);
    let whole = encoder.bytes;
    for cut in 0..whole.len() {
        assert_eq!(decode(&whole[..cut]), Ok(None), "cut at {cut}");
    }
    let expect = Frame::Map(vec![(
        Frame::Bulk(b"k".to_vec()),
        Frame::Array(vec![Frame::Double(2.5), Frame::Null, Frame::Boolean(false)]),
    )]);
    assert_eq!(decode(&whole), Ok(Some((expect, whole.len()))));
}

/// A small generator: the seed is printed by the assertion that fails.
struct Random(u64);

impl Random {
    fn next(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

#[test]
fn mutated_streams_never_panic_and_cuts_never_matter() {
    let good = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\nGET \"a b\"\r\n";
    let alphabet = b"*$\r\n0123456789-\"' aA\\x%~>_,#(=|+:";
    for seed in 1..=20_000u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let mut stream = good.to_vec();
        for _ in 0..=random.next(4) {
            let at = random.next(stream.len());
            match random.next(3) {
                0 => stream[at] = alphabet[random.next(alphabet.len())],
                1 => stream.insert(at, alphabet[random.next(alphabet.len())]),
                _ => {
                    stream.remove(at);
                }
            }
        }
        let whole = commands(&stream, stream.len(), &Limits::DEFAULT);
        let cut = commands(&stream, 1 + random.next(5), &Limits::DEFAULT);
        assert_eq!(whole, cut, "seed {seed}");
        let _ = decode(&stream);
    }
}
