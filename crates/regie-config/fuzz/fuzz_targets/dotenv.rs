//! Any text as `.env`, in both dialects: no panic, and a fault names a line of the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use regie_config::dotenv::{Variables, phpdotenv, symfony};

fuzz_target!(|text: &str| {
    let environment = Variables::from([("REAL".to_owned(), "value".to_owned())]);
    let lines = text.split(['\n', '\r']).count();
    for fault in [
        phpdotenv::parse(text, &environment).err(),
        symfony::parse(text, &environment, &Variables::new()).err(),
    ] {
        assert!(fault.is_none_or(|(line, _)| (1..=lines).contains(&line)));
    }
});
