//! Debian's redis-server, one per test, on a Unix socket in a temporary folder.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use regie_resp::{Encoder, Version, decode};
use regie_script::{Host, LogLevel, Replicate, Tick};

pub(crate) struct Server {
    child: Child,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("redis.sock");
        let mut child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server, of the package redis-server");
        // It says when it is ready; it may say more later, which must have a reader.
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("ready to accept connections") && !line.contains("The server is now ready") {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "redis-server ended");
        }
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { child, folder }
    }

    /// A connection in this version of the protocol, on this database.
    pub(crate) fn connect(&self, version: Version, database: &str) -> Client {
        let stream = UnixStream::connect(self.folder.path().join("redis.sock")).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(120))).unwrap();
        let mut client = Client { stream, buffer: Vec::new() };
        if version == Version::Three {
            client.send(&[b"HELLO", b"3"]);
        }
        assert_eq!(client.send(&[b"SELECT", database.as_bytes()]), b"+OK\r\n");
        client
    }
}

pub(crate) struct Client {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Sends a command and gives its reply as it came.
    pub(crate) fn send(&mut self, args: &[&[u8]]) -> Vec<u8> {
        let mut request = Encoder::default();
        request.array(args.len());
        for arg in args {
            request.bulk(arg);
        }
        self.stream.write_all(&request.bytes).unwrap();
        self.buffer.clear();
        let mut chunk = [0; 65536];
        loop {
            let read = self
                .stream
                .read(&mut chunk)
                .unwrap_or_else(|error| panic!("{error} after {}", String::from_utf8_lossy(&request.bytes)));
            assert_ne!(
                read,
                0,
                "redis-server closed the connection after {}",
                String::from_utf8_lossy(&request.bytes)
            );
            self.buffer.extend_from_slice(&chunk[..read]);
            if is_whole(&self.buffer) {
                return self.buffer.clone();
            }
        }
    }

    pub(crate) fn eval(&mut self, script: &[u8], keys: &[&[u8]], args: &[&[u8]]) -> Vec<u8> {
        let count = keys.len().to_string();
        let head: [&[u8]; 3] = [b"EVAL", script, count.as_bytes()];
        self.send(&[&head[..], keys, args].concat())
    }
}

/// Whether one whole reply is there. Counts rather than decodes, since results may be nested deeper than a decoder allows.
fn is_whole(buffer: &[u8]) -> bool {
    let mut at = 0;
    let mut open = 1usize;
    while open > 0 {
        let Some(end) = buffer[at..].windows(2).position(|pair| pair == b"\r\n") else { return false };
        let kind = buffer[at];
        let number = || std::str::from_utf8(&buffer[at + 1..at + end]).unwrap().parse::<i64>().unwrap();
        open -= 1;
        let next = at + end + 2;
        match kind {
            b'$' | b'=' if number() >= 0 => at = next + number() as usize + 2,
            b'*' | b'~' if number() > 0 => (open, at) = (open + number() as usize, next),
            b'%' => (open, at) = (open + 2 * number() as usize, next),
            _ => at = next,
        }
        if at > buffer.len() || (open > 0 && at == buffer.len()) {
            return false;
        }
    }
    at == buffer.len()
}

/// Runs the commands of scripts on a real server, so that only the engine differs between the two sides.
pub(crate) struct RedisHost {
    two: Client,
    three: Client,
    pub(crate) log: Vec<(LogLevel, String)>,
    pub(crate) errors: Vec<String>,
}

impl RedisHost {
    /// On database 1; the server's own scripts use database 0.
    pub(crate) fn new(server: &Server) -> Self {
        Self {
            two: server.connect(Version::Two, "1"),
            three: server.connect(Version::Three, "1"),
            log: Vec::new(),
            errors: Vec::new(),
        }
    }

    pub(crate) fn flush(&mut self) {
        self.two.send(&[b"FLUSHDB"]);
    }
}

impl Host for RedisHost {
    fn call(&mut self, args: &[&[u8]], _: Replicate, reply: &mut Encoder) {
        let name = args[0].to_ascii_lowercase();
        if [&b"eval"[..], b"subscribe", b"multi", b"config", b"blpop"].contains(&&name[..]) {
            reply.error(b"ERR This Redis command is not allowed from script");
            return;
        }
        let client = if reply.version == Version::Two { &mut self.two } else { &mut self.three };
        let bytes = client.send(args);
        if bytes.starts_with(b"-ERR unknown command") || bytes.starts_with(b"-ERR unknown subcommand") {
            reply.error(b"ERR Unknown Redis command called from script");
        } else if bytes.starts_with(b"-ERR wrong number of arguments for '") {
            reply.error(b"ERR Wrong number of args calling Redis command from script");
        } else {
            reply.bytes.extend_from_slice(&bytes);
        }
    }

    fn may_call(&mut self, args: &[&[u8]]) -> Option<bool> {
        let reply = self.two.send(&[b"COMMAND", b"INFO", args[0]]);
        let (frame, _) = decode(&reply).unwrap().unwrap();
        match frame {
            regie_resp::Frame::Array(of) if of == [regie_resp::Frame::Null] => None,
            _ => Some(true),
        }
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        self.log.push((level, String::from_utf8_lossy(message).into_owned()));
    }

    fn tick(&mut self) -> Tick {
        Tick::Continue
    }

    fn count_error(&mut self, line: &[u8]) {
        self.errors.push(String::from_utf8_lossy(line).into_owned());
    }
}
