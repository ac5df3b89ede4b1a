//! Where the servers of `[store] url` are at the moment: which master the sentinels name, which node of a cluster holds
//! a key.
//!
//! All sentinels are asked at the same time. Of what a majority of them, or those that answer within the limit, say,
//! the newest holds (`config-epoch`): after a failover one of them may not have heard of it yet. Each question is a
//! connection of its own, since it is asked rarely and mostly of servers that come and go.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::time::Duration;

use regie_core::Secret;
use regie_resp::{Encoder, Frame, decode};

use crate::addresses::StoreAddress;
use crate::store::Sentinels;

/// How long a server may take to connect, and to answer.
const LIMIT: Duration = Duration::from_secs(1);

/// An answer is no longer than this.
const ANSWER_MAX: usize = 1 << 20;

/// Where the master is that `sentinels` watch.
///
/// # Errors
/// Why none of them says it.
pub fn master(sentinels: &Sentinels) -> Result<(String, u16), String> {
    let (answer, answers) = mpsc::channel();
    for (host, port) in sentinels.hosts.clone() {
        let (answer, sentinels) = (answer.clone(), sentinels.clone());
        // A name server offers no deadline; a thread that it holds up ends with the process at the latest.
        let asked = std::thread::Builder::new().name("sentinel".to_owned()).spawn(move || {
            let told = ask_sentinel(&host, port, &sentinels).map_err(|why| format!("{host}:{port}: {why}"));
            // Nobody waits any more when the others were quicker.
            answer.send(told).ok();
        });
        asked.map_err(|fault| fault.to_string())?;
    }
    drop(answer);
    let majority = sentinels.hosts.len() / 2 + 1;
    let (mut told, mut faults) = (Vec::new(), Vec::new());
    while told.len() < majority {
        match answers.recv_timeout(2 * LIMIT) {
            Ok(Ok(master)) => told.push(master),
            Ok(Err(fault)) => faults.push(fault),
            Err(_) => break,
        }
    }
    let newest = told.into_iter().max_by_key(|(epoch, _)| *epoch);
    newest
        .map(|(_, master)| master)
        .ok_or_else(|| if faults.is_empty() { "none answers".to_owned() } else { faults.join("; ") })
}

/// The master that one sentinel names, with the age of what it knows.
fn ask_sentinel(host: &str, port: u16, sentinels: &Sentinels) -> io::Result<(u64, (String, u16))> {
    let (user, password) = &sentinels.login;
    let mut server = Server::connect(host, port, user.as_deref(), password.as_ref())?;
    let Frame::Array(items) = server.ask(&["SENTINEL", "MASTER", &sentinels.master])? else {
        return Err(io::Error::other("its answer makes no sense"));
    };
    let text = |frame: &Frame| match frame {
        Frame::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    let field = |name: &str| {
        let pairs = items.chunks_exact(2).find(|pair| text(&pair[0]) == name);
        pairs
            .map(|pair| text(&pair[1]))
            .ok_or_else(|| io::Error::other(format!("it does not say its {name}")))
    };
    let port = field("port")?.parse().map_err(|_| io::Error::other("its port is none"))?;
    Ok((field("config-epoch")?.parse().unwrap_or_default(), (field("ip")?, port)))
}

/// Whether the server at `store` is a master. One that keeps the question to itself is believed to be.
///
/// # Errors
/// When it does not answer.
pub fn is_master(store: &StoreAddress) -> io::Result<bool> {
    let mut server =
        Server::connect(&store.host, store.port, store.username.as_deref(), store.password.as_ref())?;
    match server.ask(&["ROLE"]) {
        Ok(Frame::Array(items)) => Ok(items.first() == Some(&Frame::Bulk(b"master".to_vec()))),
        Err(fault) if fault.to_string().starts_with("NOPERM") => Ok(true),
        Err(fault) => Err(fault),
        Ok(_) => Err(io::Error::other("its answer makes no sense")),
    }
}

/// The node of the cluster of `store` that holds `key`.
///
/// # Errors
/// When no node says it.
pub fn holder(store: &StoreAddress, key: &[u8]) -> Result<(String, u16), String> {
    let slot = i64::from(slot(key));
    let mut faults = Vec::new();
    for (host, port) in &store.nodes {
        let asked = Server::connect(host, *port, store.username.as_deref(), store.password.as_ref())
            .and_then(|mut server| server.ask(&["CLUSTER", "SLOTS"]));
        match asked.map(|slots| in_slots(&slots, slot, host)) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => faults.push(format!("{host}:{port} knows no node for slot {slot}")),
            Err(fault) => faults.push(format!("{host}:{port}: {fault}")),
        }
    }
    Err(faults.join("; "))
}

/// The node of `slot` in an answer to CLUSTER SLOTS. A node that does not know its own address leaves it out.
fn in_slots(slots: &Frame, slot: i64, asked: &str) -> Option<(String, u16)> {
    let Frame::Array(ranges) = slots else { return None };
    ranges.iter().find_map(|range| {
        let Frame::Array(parts) = range else { return None };
        let [Frame::Integer(first), Frame::Integer(last), Frame::Array(node), ..] = &parts[..] else {
            return None;
        };
        let [host, Frame::Integer(port), ..] = &node[..] else { return None };
        let host = match host {
            Frame::Bulk(bytes) if !bytes.is_empty() => String::from_utf8_lossy(bytes).into_owned(),
            _ => asked.to_owned(),
        };
        let port = u16::try_from(*port).ok()?;
        (*first..=*last).contains(&slot).then_some((host, port))
    })
}

/// The slot of a key: CRC16 (XMODEM) of what stands in its first braces, or of all of it.
fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let len = key[open + 1..].iter().position(|&byte| byte == b'}').filter(|len| *len > 0)?;
        Some(&key[open + 1..open + 1 + len])
    });
    let crc = tag.unwrap_or(key).iter().fold(0_u16, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % 16_384
}

/// Opens a connection within the limit, to whichever of a name's addresses answers.
///
/// # Errors
/// When none does.
pub fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name leads nowhere");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, LIMIT) {
            Ok(stream) => return Ok(stream),
            Err(fault) => last = fault,
        }
    }
    Err(last)
}

/// A server that is asked a few things.
struct Server {
    stream: TcpStream,
}

impl Server {
    fn connect(host: &str, port: u16, user: Option<&str>, password: Option<&Secret>) -> io::Result<Self> {
        let stream = connect(host, port)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        let mut server = Self { stream };
        if let Some(password) = password {
            let words: Vec<&str> = ["AUTH"].into_iter().chain(user).chain([password.reveal()]).collect();
            server.ask(&words)?;
        }
        Ok(server)
    }

    /// The answer; a refusal is an error.
    fn ask(&mut self, words: &[&str]) -> io::Result<Frame> {
        let mut encoder = Encoder::default();
        encoder.array(words.len());
        for word in words {
            encoder.bulk(word.as_bytes());
        }
        self.stream.write_all(&encoder.bytes)?;
        let mut buffer = Vec::new();
        loop {
            if let Some((frame, _)) = decode(&buffer).map_err(io::Error::other)? {
                return match frame {
                    Frame::Error(text) => Err(io::Error::other(String::from_utf8_lossy(&text).into_owned())),
                    other => Ok(other),
                };
            }
            let mut piece = [0; 4096];
            let read = self.stream.read(&mut piece)?;
            if read == 0 || buffer.len() > ANSWER_MAX {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer.extend_from_slice(&piece[..read]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        for (key, expected) in [
            ("", 0),
            ("123456789", 12_739),
            ("foo", 12_182),
            ("{user1000}.following", slot(b"user1000")),
            ("foo{}{bar}", slot(b"foo{}{bar}")),
            ("foo{{bar}}zap", slot(b"{bar")),
            ("foo{bar}{zap}", slot(b"bar")),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
    }

    #[test]
    fn the_holder_of_a_slot_is_found() {
        let answer = b"*2\r\n*3\r\n:0\r\n:8191\r\n*2\r\n$9\r\n127.0.0.1\r\n:7000\r\n*3\r\n:8192\r\n:16383\r\n*2\r\n$0\r\n\r\n:7001\r\n";
        let (slots, _) = decode(answer).unwrap().unwrap();
        assert_eq!(in_slots(&slots, 0, "h"), Some(("127.0.0.1".to_owned(), 7000)));
        assert_eq!(in_slots(&slots, 16_383, "h"), Some(("h".to_owned(), 7001)));
        assert_eq!(in_slots(&slots, 16_384, "h"), None);
    }
}
