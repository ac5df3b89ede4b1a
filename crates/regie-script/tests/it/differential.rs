//! The same scripts in redis-server and in the engine; replies must be equal to the byte.

use regie_resp::{Encoder, Version};
use regie_script::{Engine, Limits};

use crate::redis::{Client, RedisHost, Server};
use crate::scripts;

/// Both sides: redis-server's own Lua, and ours with its commands.
pub(crate) struct Pair {
    _server: Server,
    two: Client,
    three: Client,
    engine: Engine,
    host: RedisHost,
}

impl Pair {
    pub(crate) fn start() -> Self {
        let server = Server::start();
        Self {
            two: server.connect(Version::Two, "0"),
            three: server.connect(Version::Three, "0"),
            host: RedisHost::new(&server),
            engine: Engine::new(Limits::default()),
            _server: server,
        }
    }

    pub(crate) fn flush(&mut self) {
        self.two.send(&[b"FLUSHDB"]);
        self.host.flush();
    }

    pub(crate) fn theirs(
        &mut self,
        version: Version,
        script: &[u8],
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Vec<u8> {
        if version == Version::Two { &mut self.two } else { &mut self.three }.eval(script, keys, args)
    }

    pub(crate) fn ours(
        &mut self,
        version: Version,
        script: &[u8],
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Vec<u8> {
        let mut out = Encoder::new(version);
        let result = self
            .engine
            .prepare(script)
            .and_then(|id| self.engine.run(id, keys, args, &mut self.host, &mut out));
        if let Err(error) = result {
            out.bytes = [b"-", &error.line[..], b"\r\n"].concat();
        }
        out.bytes
    }

    /// What differs, if anything.
    pub(crate) fn difference(
        &mut self,
        version: Version,
        script: &[u8],
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Option<String> {
        let theirs = self.theirs(version, script, keys, args);
        let ours = self.ours(version, script, keys, args);
        (theirs != ours).then(|| {
            format!(
                "{}\n  redis {}\n  ours  {}",
                String::from_utf8_lossy(script),
                shorten(&theirs),
                shorten(&ours)
            )
        })
    }
}

fn shorten(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(600)]))
}

#[test]
fn every_script_answers_as_in_redis() {
    let mut pair = Pair::start();
    let keys: [&[u8]; 2] = [b"k1", b"k2"];
    let args: [&[u8]; 3] = [b"a1", b"7", b"{\"a\":[1,2.5,null]}"];
    let mut differences = Vec::new();
    let mut count = 0;
    for version in [Version::Two, Version::Three] {
        for script in scripts::ALL.iter().flat_map(|group| group.iter()) {
            pair.flush();
            count += 1;
            differences.extend(pair.difference(version, script.as_bytes(), &keys, &args));
        }
    }
    assert!(differences.is_empty(), "{} of {count} differ:\n{}", differences.len(), differences.join("\n"));
    assert!(count > 600, "{count} scripts");
}
