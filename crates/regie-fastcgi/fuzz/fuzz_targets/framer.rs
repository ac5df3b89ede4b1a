//! Any bytes end in an error or in a wait for more; however they are cut, the records are the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use regie_fastcgi::{Framer, Malformed, Step, management, params};

/// What the streams and records of `bytes` hold, shown in windows of `window` bytes.
fn decode(bytes: &[u8], window: usize) -> Result<Vec<u8>, Malformed> {
    let (mut framer, mut at, mut shown, mut seen) = (Framer::default(), 0, window.min(bytes.len()), Vec::new());
    loop {
        let (taken, step) = framer.step(&bytes[at..shown])?;
        match step {
            Step::NeedMore if shown == bytes.len() => return Ok(seen),
            Step::NeedMore => shown = (shown + window).min(bytes.len()),
            Step::Skipped => {}
            // How a stream is cut into pieces depends on the windows; its bytes do not.
            Step::Piece { data, .. } => seen.extend_from_slice(data),
            Step::StreamEnd { kind, .. } => seen.push(kind.byte()),
            Step::Record { kind, body, .. } => {
                seen.push(kind.byte());
                seen.extend_from_slice(body);
                let _ = management::Values::parse(body);
                let _ = params::pairs(body).count();
            }
        }
        at += taken;
    }
}

fuzz_target!(|bytes: &[u8]| {
    let whole = decode(bytes, usize::MAX / 2);
    for window in [1, 7, 64] {
        assert_eq!(decode(bytes, window), whole);
    }
});
