//! A host with a few commands of its own, and helpers to run scripts on it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use regie_resp::{Encoder, Frame, decode};
use regie_script::{Engine, Host, LogLevel, Replicate, Tick};

/// Strings, lists and sorted sets, just as far as the tests need them.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) lists: HashMap<Vec<u8>, VecDeque<Vec<u8>>>,
    pub(crate) sorted: HashMap<Vec<u8>, BTreeMap<Vec<u8>, i64>>,
    pub(crate) calls: Vec<Replicate>,
    pub(crate) log: Vec<(LogLevel, String)>,
    pub(crate) errors: Vec<String>,
    /// After so many ticks the script is ended.
    pub(crate) patience: Option<usize>,
    pub(crate) ticks: usize,
}

fn number(text: &[u8]) -> i64 {
    std::str::from_utf8(text).unwrap().parse().unwrap()
}

impl Fake {
    fn run(&mut self, args: &[&[u8]], reply: &mut Encoder) {
        match (&args[0].to_ascii_lowercase()[..], &args[1..]) {
            (b"rpush", [key, values @ ..]) => {
                let list = self.lists.entry(key.to_vec()).or_default();
                list.extend(values.iter().map(|value| value.to_vec()));
                reply.integer(list.len() as i64);
            }
            (b"lpop", [key]) => match self.lists.get_mut(*key).and_then(VecDeque::pop_front) {
                Some(value) => reply.bulk(&value),
                None => reply.null(),
            },
            (b"llen", [key]) => reply.integer(self.lists.get(*key).map_or(0, VecDeque::len) as i64),
            (b"zadd", [key, score, member]) => {
                let old = self.sorted.entry(key.to_vec()).or_default().insert(member.to_vec(), number(score));
                reply.integer(i64::from(old.is_none()));
            }
            (b"zrem", [key, member]) => {
                let old = self.sorted.get_mut(*key).and_then(|set| set.remove(*member));
                reply.integer(i64::from(old.is_some()));
            }
            (b"zcard", [key]) => reply.integer(self.sorted.get(*key).map_or(0, BTreeMap::len) as i64),
            (b"zrangebyscore", [key, b"-inf", highest, b"LIMIT", b"0", _]) => {
                let due = self.due(key, number(highest));
                reply.array(due.len());
                due.iter().for_each(|member| reply.bulk(member));
            }
            (b"zremrangebyrank", [key, b"0", last]) => {
                let due = self.due(key, i64::MAX);
                let gone = &due[..number(last) as usize + 1];
                let set = self.sorted.get_mut(*key).unwrap();
                set.retain(|member, _| !gone.contains(member));
                reply.integer(gone.len() as i64);
            }
            (b"del", keys) => {
                let gone = keys
                    .iter()
                    .filter(|key| self.lists.remove(**key).is_some() | self.sorted.remove(**key).is_some());
                reply.integer(gone.count() as i64);
            }
            (b"fail", [line]) => reply.error(line),
            (b"raw", [bytes]) => reply.bytes.extend_from_slice(bytes),
            _ => reply.error(b"ERR Unknown Redis command called from script"),
        }
    }

    fn due(&self, key: &[u8], highest: i64) -> Vec<Vec<u8>> {
        let set = self.sorted.get(key).cloned().unwrap_or_default();
        let mut due: Vec<_> =
            set.into_iter().filter(|(_, score)| *score <= highest).map(|(m, s)| (s, m)).collect();
        due.sort();
        due.into_iter().map(|(_, member)| member).collect()
    }
}

impl Host for Fake {
    fn call(&mut self, args: &[&[u8]], replicate: Replicate, reply: &mut Encoder) {
        self.calls.push(replicate);
        self.run(args, reply);
    }

    fn may_call(&mut self, args: &[&[u8]]) -> Option<bool> {
        (args[0] != b"nosuch").then_some(args[0] != b"flushall")
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        self.log.push((level, String::from_utf8_lossy(message).into_owned()));
    }

    fn tick(&mut self) -> Tick {
        self.ticks += 1;
        if self.patience.is_some_and(|patience| self.ticks > patience) { Tick::Stop } else { Tick::Continue }
    }

    fn count_error(&mut self, line: &[u8]) {
        self.errors.push(String::from_utf8_lossy(line).into_owned());
    }
}

/// Runs a script and gives its reply, or the error line.
pub(crate) fn eval(
    engine: &mut Engine,
    host: &mut Fake,
    script: &str,
    keys: &[&str],
    args: &[&str],
) -> Result<Frame, String> {
    let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
    let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
    let mut out = Encoder::default();
    let id = engine.prepare(script.as_bytes()).map_err(|error| error.to_string())?;
    engine.run(id, &keys, &args, host, &mut out).map_err(|error| error.to_string())?;
    let (frame, length) = decode(&out.bytes).unwrap().unwrap();
    assert_eq!(length, out.bytes.len(), "one reply");
    Ok(frame)
}

/// As [`eval`], for scripts without keys whose result is a string or an error.
pub(crate) fn text(engine: &mut Engine, host: &mut Fake, script: &str) -> String {
    match eval(engine, host, script, &[], &[]) {
        Ok(Frame::Bulk(bytes) | Frame::Simple(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        Ok(Frame::Integer(number)) => number.to_string(),
        Ok(other) => format!("{other:?}"),
        Err(line) => line,
    }
}
