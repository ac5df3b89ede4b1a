//! Any bytes, in any pieces: no panic, and the same commands however they were cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use regie_resp::{Limits, Parsed, RequestParser, decode};

fn commands(stream: &[u8], piece: usize) -> (Vec<Vec<Vec<u8>>>, bool) {
    let mut parser = RequestParser::default();
    let (mut buffer, mut found) = (Vec::new(), Vec::new());
    for chunk in stream.chunks(piece) {
        buffer.extend_from_slice(chunk);
        loop {
            match parser.parse(&buffer, &Limits::DEFAULT) {
                Ok(Parsed::Incomplete { .. }) => break,
                Ok(Parsed::Command { consumed }) => {
                    found.push(parser.arguments(&buffer).map(<[u8]>::to_vec).collect());
                    buffer.drain(..consumed);
                    parser.next();
                }
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}

fuzz_target!(|data: &[u8]| {
    if let [piece, stream @ ..] = data {
        assert_eq!(commands(stream, stream.len().max(1)), commands(stream, usize::from(*piece).max(1)));
        let _ = decode(stream);
    }
});
