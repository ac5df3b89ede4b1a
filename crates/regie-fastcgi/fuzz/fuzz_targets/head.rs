//! Any bytes are a header block, an error, or not whole yet; what is read can be sent on as HTTP.
#![no_main]

use libfuzzer_sys::fuzz_target;
use regie_fastcgi::cgi;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(end)) = cgi::find_end(bytes) else { return };
    let Ok(head) = cgi::parse(&bytes[..end]) else { return };
    assert!((100..=999).contains(&head.status));
    for (name, value) in head.headers {
        assert!(!name.is_empty() && !name.contains([':', '\r', '\n', ' ']));
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
});
