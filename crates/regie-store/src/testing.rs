//! An engine and a client for unit tests.

use crate::engine::{Engine, Settings};
use crate::session::{ClientId, Peer};
use regie_resp::Encoder;

/// When these engines begin, in milliseconds since 1970.
pub(crate) const START: i64 = 1_700_000_000_000;

/// An engine with settings of a configuration, and a client of it.
pub(crate) fn engine(config: &[(&str, &str)]) -> (Engine, ClientId) {
    let config = config.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let settings = Settings { seed: 7, secret: [0; 32], now_us: START * 1000, config, stopwatch: || 0 };
    let mut engine = Engine::new(settings).expect("known settings");
    let client = engine.connect(Peer::default());
    (engine, client)
}

/// The reply to a command, as it is sent. Words are parted by single spaces.
pub(crate) fn ask(engine: &mut Engine, client: ClientId, line: &str) -> String {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let mut out = Encoder::default();
    let _ = engine.execute(client, &words, &mut out);
    String::from_utf8(out.bytes).expect("a reply in UTF-8")
}
