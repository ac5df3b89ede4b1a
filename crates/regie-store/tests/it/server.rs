//! A store on a free port, and a client that speaks to it.

use regie_resp::{Frame, decode};
use regie_store::{Inherited, Options, RunError, run};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long anything may take before the test fails.
const DEADLINE: Duration = Duration::from_secs(120);

/// A running store; it ends when this is dropped.
pub(crate) struct Store {
    pub(crate) address: SocketAddr,
    trigger: Option<std::io::PipeWriter>,
    thread: Option<JoinHandle<Result<(), RunError>>>,
}

impl Store {
    pub(crate) fn start(dir: Option<&Path>, config: &[(&str, &str)]) -> Self {
        Self::try_start(dir, config).expect("the store starts")
    }

    pub(crate) fn try_start(dir: Option<&Path>, config: &[(&str, &str)]) -> Result<Self, String> {
        let options = Options {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            dir: dir.map(Path::to_owned),
            config: config.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            ..Options::default()
        };
        let (shutdown, trigger) = std::io::pipe().unwrap();
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            run(&options, Inherited::default(), &shutdown.into(), |addresses| {
                sender.send(addresses[0]).unwrap();
            })
        });
        match receiver.recv_timeout(DEADLINE) {
            Ok(address) => Ok(Self { address, trigger: Some(trigger), thread: Some(thread) }),
            Err(_) => Err(thread.join().unwrap().unwrap_err().to_string()),
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.trigger.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A client of any server that speaks the protocol.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) fn send(&mut self, words: &[&[u8]]) {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        self.send_raw(&bytes);
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends the same so many times, all at once: a server that closes the connection for it does so afterwards.
    pub(crate) fn send_often(&mut self, words: &str, times: usize) {
        self.send_raw(format!("{words}\r\n").repeat(times).as_bytes());
    }

    /// The next reply; `None` when the server has closed the connection.
    pub(crate) fn try_receive(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = decode(&self.buffer).unwrap() {
                self.buffer.drain(..length);
                return Some(frame);
            }
            let mut chunk = [0; 16384];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no reply: {error}"),
            }
        }
    }

    pub(crate) fn receive(&mut self) -> Frame {
        self.try_receive().expect("the connection is open")
    }

    pub(crate) fn call(&mut self, words: &[&[u8]]) -> Frame {
        self.send(words);
        self.receive()
    }

    /// Sends a line of words and shows the reply as `redis-cli` would, roughly.
    pub(crate) fn line(&mut self, line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        show(&self.call(&words))
    }
}

/// A reply in a form that is easy to write down.
pub(crate) fn show(frame: &Frame) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let list = |frames: &[Frame]| frames.iter().map(show).collect::<Vec<_>>().join(" ");
    match frame {
        Frame::Simple(bytes) | Frame::Bulk(bytes) | Frame::BigNumber(bytes) => text(bytes),
        Frame::Verbatim(_, bytes) => text(bytes),
        Frame::Error(bytes) => format!("-{}", text(bytes)),
        Frame::Integer(number) => format!(":{number}"),
        Frame::Null => "nil".into(),
        Frame::Array(frames) | Frame::Set(frames) | Frame::Push(frames) => format!("[{}]", list(frames)),
        Frame::Map(pairs) => {
            let pairs: Vec<String> = pairs.iter().map(|(k, v)| format!("{}={}", show(k), show(v))).collect();
            format!("{{{}}}", pairs.join(" "))
        }
        Frame::Double(value) => format!(",{value}"),
        Frame::Boolean(value) => format!("#{value}"),
    }
}
