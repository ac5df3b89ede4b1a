//! The whole engine, without sockets, files or clocks, beside a model of plain collections: random commands under a seed,
//! each reply compared, time moved on by hand. Now and then all keys are compared, and so is an engine that has run the
//! log of the first one again.
//!
//! `REGIE_SEED=7 REGIE_STEPS=100000` replays one seed, or makes it longer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use regie_resp::{Encoder, Frame, decode};
use regie_store::{ClientId, Engine, Flow, Peer, Settings};

use crate::server::show;

/// A moment in milliseconds since 1970 at which every run begins.
const START_MS: i64 = 1_700_000_000_000;

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

#[derive(Debug, Clone, PartialEq)]
enum Value {
    String(String),
    /// Values, and when fields end.
    Hash(BTreeMap<String, (String, Option<i64>)>),
    List(VecDeque<String>),
    Set(BTreeSet<String>),
    /// Scores are whole, so that adding them is exact.
    Scores(BTreeMap<String, i64>),
}

impl Value {
    fn is_empty(&self) -> bool {
        match self {
            Self::String(_) => false,
            Self::Hash(of) => of.is_empty(),
            Self::List(of) => of.is_empty(),
            Self::Set(of) => of.is_empty(),
            Self::Scores(of) => of.is_empty(),
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::Hash(_) => "hash",
            Self::List(_) => "list",
            Self::Set(_) => "set",
            Self::Scores(_) => "zset",
        }
    }

    /// Members by score, then by name.
    fn ranked(of: &BTreeMap<String, i64>) -> Vec<(i64, String)> {
        let mut all: Vec<_> = of.iter().map(|(member, score)| (*score, member.clone())).collect();
        all.sort();
        all
    }
}

/// A reply in words: those of collections without an order are sorted on both sides.
type Reply = String;

fn number(value: i64) -> Reply {
    show(&Frame::Integer(value))
}

fn text(value: &str) -> Reply {
    show(&Frame::Bulk(value.into()))
}

fn maybe(value: Option<&String>) -> Reply {
    value.map_or_else(|| show(&Frame::Null), |value| text(value))
}

fn simple(value: &str) -> Reply {
    show(&Frame::Simple(value.into()))
}

fn fault(value: &str) -> Reply {
    show(&Frame::Error(value.into()))
}

fn list<'a>(values: impl IntoIterator<Item = &'a String>) -> Reply {
    show(&Frame::Array(values.into_iter().map(|value| Frame::Bulk(value.as_bytes().into())).collect()))
}

/// A number as Redis takes it: written in one way only.
fn whole(text: &str) -> Option<i64> {
    text.parse::<i64>().ok().filter(|number| number.to_string() == text)
}

#[derive(Debug, Default)]
struct Model {
    now: i64,
    keys: BTreeMap<String, (Value, Option<i64>)>,
}

/// The collection at a key, made where nothing is; or the reply that says that it is something else.
macro_rules! collection {
    ($model:expr, $key:expr, $kind:ident) => {
        match &mut $model
            .keys
            .entry($key.to_owned())
            .or_insert_with(|| (Value::$kind(Default::default()), None))
            .0
        {
            Value::$kind(of) => of,
            _ => return fault(WRONG_TYPE),
        }
    };
}

impl Model {
    fn expire(&mut self) {
        let now = self.now;
        for (value, _) in self.keys.values_mut() {
            if let Value::Hash(of) = value {
                of.retain(|_, (_, end)| end.is_none_or(|end| end > now));
            }
        }
        self.keys.retain(|_, (value, until)| !value.is_empty() && until.is_none_or(|until| until > now));
    }

    fn run(&mut self, words: &[String]) -> Reply {
        self.expire();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let reply = self.reply(&words);
        self.keys.retain(|_, (value, _)| !value.is_empty());
        reply
    }

    fn reply(&mut self, words: &[&str]) -> Reply {
        match words {
            ["FLUSHDB"] => {
                self.keys.clear();
                simple("OK")
            }
            ["SET" | "GET" | "APPEND" | "STRLEN" | "INCRBY" | "GETDEL" | "GETSET", ..] => self.string(words),
            [name, ..] if name.starts_with('H') => self.hash(words),
            [name, ..] if name.starts_with('Z') => self.scores(words),
            ["SADD" | "SREM" | "SCARD" | "SISMEMBER" | "SMEMBERS" | "SINTER" | "SDIFF", ..] => {
                self.set(words)
            }
            [name, ..] if name.starts_with('L') || name.starts_with("RP") => self.list(words),
            _ => self.key(words),
        }
    }

    fn key(&mut self, words: &[&str]) -> Reply {
        let Self { now, keys } = self;
        let end = |found: Option<&mut (Value, Option<i64>)>, until: i64| match found {
            Some((_, own)) => {
                *own = Some(until);
                number(1)
            }
            None => number(0),
        };
        match words {
            ["DEL", all @ ..] => number(all.iter().filter(|key| keys.remove(**key).is_some()).count() as i64),
            ["EXISTS", key] => number(keys.contains_key(*key).into()),
            ["TYPE", key] => simple(keys.get(*key).map_or("none", |(value, _)| value.kind())),
            ["PEXPIRE", key, ms] => end(keys.get_mut(*key), *now + ms.parse::<i64>().unwrap()),
            ["PEXPIREAT", key, at] => end(keys.get_mut(*key), at.parse().unwrap()),
            ["PTTL", key] => number(match keys.get(*key) {
                Some((_, Some(until))) => until - *now,
                Some(_) => -1,
                None => -2,
            }),
            ["PERSIST", key] => {
                number(keys.get_mut(*key).is_some_and(|(_, until)| until.take().is_some()).into())
            }
            ["RENAME", from, to] => match keys.remove(*from) {
                Some(found) => {
                    keys.insert((*to).to_owned(), found);
                    simple("OK")
                }
                None => fault("ERR no such key"),
            },
            ["COPY", from, to, "REPLACE"] if from == to => {
                fault("ERR source and destination objects are the same")
            }
            ["COPY", from, to, "REPLACE"] => match keys.get(*from).cloned() {
                Some(found) => {
                    keys.insert((*to).to_owned(), found);
                    number(1)
                }
                None => number(0),
            },
            ["KEYS", "*"] => list(keys.keys()),
            other => panic!("{other:?}"),
        }
    }

    fn string(&mut self, words: &[&str]) -> Reply {
        let (name, key) = (words[0], words[1]);
        let until = self.keys.get(key).and_then(|(_, until)| *until);
        let old = match self.keys.get(key) {
            Some((Value::String(old), _)) => Some(old.clone()),
            Some(_) if name != "SET" => return fault(WRONG_TYPE),
            Some(_) | None => None,
        };
        let mut put =
            |value: String, until| drop(self.keys.insert(key.to_owned(), (Value::String(value), until)));
        match (name, &words[2..]) {
            ("SET", [value]) => put((*value).to_owned(), None),
            ("SET", [value, "PX", ms]) => {
                put((*value).to_owned(), Some(self.now + ms.parse::<i64>().unwrap()));
            }
            ("SET", [value, "KEEPTTL"]) => put((*value).to_owned(), until),
            ("SET", [value, word @ ("NX" | "XX")]) => {
                if self.keys.contains_key(key) != (*word == "XX") {
                    return show(&Frame::Null);
                }
                self.keys.insert(key.to_owned(), (Value::String((*value).to_owned()), None));
            }
            ("GETSET", [value]) => {
                put((*value).to_owned(), None);
                return maybe(old.as_ref());
            }
            ("GET", []) => return maybe(old.as_ref()),
            ("GETDEL", []) => {
                self.keys.remove(key);
                return maybe(old.as_ref());
            }
            ("STRLEN", []) => return number(old.unwrap_or_default().len() as i64),
            ("APPEND", [value]) => {
                let whole = old.unwrap_or_default() + value;
                let len = whole.len() as i64;
                put(whole, until);
                return number(len);
            }
            ("INCRBY", [by]) => {
                let Some(old) = whole(old.as_deref().unwrap_or("0")) else {
                    return fault("ERR value is not an integer or out of range");
                };
                let sum = old + by.parse::<i64>().unwrap();
                put(sum.to_string(), until);
                return number(sum);
            }
            other => panic!("{other:?}"),
        }
        simple("OK")
    }

    fn hash(&mut self, words: &[&str]) -> Reply {
        let now = self.now;
        let of = collection!(self, words[1], Hash);
        match (words[0], &words[2..]) {
            ("HSET", pairs) => {
                let fresh =
                    pairs.chunks(2).map(|pair| of.insert(pair[0].to_owned(), (pair[1].to_owned(), None)));
                number(fresh.filter(Option::is_none).count() as i64)
            }
            ("HGET", [field]) => maybe(of.get(*field).map(|(value, _)| value)),
            ("HPEXPIRE", [ms, rest @ ..]) => ends(of, now, now + ms.parse::<i64>().unwrap(), rest),
            ("HPEXPIREAT", [at, rest @ ..]) => ends(of, now, at.parse().unwrap(), rest),
            (name @ ("HPTTL" | "HPEXPIRETIME" | "HPERSIST"), ["FIELDS", _, fields @ ..]) => {
                let of_one = |field: &&str| match of.get_mut(*field) {
                    None => -2,
                    Some((_, None)) => -1,
                    Some((_, end)) if name == "HPERSIST" => end.take().map_or(-1, |_| 1),
                    Some((_, Some(end))) => *end - if name == "HPTTL" { now } else { 0 },
                };
                numbers(fields.iter().map(of_one))
            }
            ("HDEL", fields) => {
                number(fields.iter().filter(|field| of.remove(**field).is_some()).count() as i64)
            }
            ("HLEN", []) => number(of.len() as i64),
            ("HEXISTS", [field]) => number(of.contains_key(*field).into()),
            ("HGETALL", []) => {
                let pairs: Vec<String> =
                    of.iter().map(|(field, (value, _))| format!("{field}={value}")).collect();
                list(&pairs)
            }
            ("HINCRBY", [field, by]) => {
                let (old, end) = of.get(*field).map_or(("0", None), |(value, end)| (value.as_str(), *end));
                let Some(old) = whole(old) else {
                    return fault("ERR hash value is not an integer");
                };
                let sum = old + by.parse::<i64>().unwrap();
                of.insert((*field).to_owned(), (sum.to_string(), end));
                number(sum)
            }
            other => panic!("{other:?}"),
        }
    }

    fn list(&mut self, words: &[&str]) -> Reply {
        let of = collection!(self, words[1], List);
        let at = |index: &str| {
            let index: i64 = index.parse().unwrap();
            if index < 0 { index + of.len() as i64 } else { index }
        };
        match (words[0], &words[2..]) {
            ("LPUSH", values) => {
                values.iter().for_each(|value| of.push_front((*value).to_owned()));
                number(of.len() as i64)
            }
            ("RPUSH", values) => {
                values.iter().for_each(|value| of.push_back((*value).to_owned()));
                number(of.len() as i64)
            }
            ("LPOP", []) => maybe(of.pop_front().as_ref()),
            ("RPOP", []) => maybe(of.pop_back().as_ref()),
            ("LLEN", []) => number(of.len() as i64),
            ("LINDEX", [index]) => maybe(usize::try_from(at(index)).ok().and_then(|at| of.get(at))),
            (name @ ("LRANGE" | "LTRIM"), [from, to]) => {
                let (from, to) = (at(from).max(0), at(to).min(of.len() as i64 - 1));
                let kept: VecDeque<String> =
                    (from..=to).filter_map(|at| of.get(usize::try_from(at).ok()?).cloned()).collect();
                if name == "LRANGE" {
                    return list(&kept);
                }
                *of = kept;
                simple("OK")
            }
            ("LREM", ["0", value]) => {
                let before = of.len();
                of.retain(|own| own != value);
                number((before - of.len()) as i64)
            }
            other => panic!("{other:?}"),
        }
    }

    fn set(&mut self, words: &[&str]) -> Reply {
        if let ["SINTER" | "SDIFF", one, other] = words {
            let mut both = Vec::new();
            for key in [one, other] {
                both.push(match self.keys.get(*key) {
                    Some((Value::Set(of), _)) => of.clone(),
                    Some(_) => return fault(WRONG_TYPE),
                    None => BTreeSet::new(),
                });
            }
            let found: Vec<String> = if words[0] == "SINTER" {
                both[0].intersection(&both[1]).cloned().collect()
            } else {
                both[0].difference(&both[1]).cloned().collect()
            };
            return list(&found);
        }
        let of = collection!(self, words[1], Set);
        match (words[0], &words[2..]) {
            ("SADD", all) => {
                number(all.iter().filter(|member| of.insert((**member).to_owned())).count() as i64)
            }
            ("SREM", all) => number(all.iter().filter(|member| of.remove(**member)).count() as i64),
            ("SCARD", []) => number(of.len() as i64),
            ("SISMEMBER", [member]) => number(of.contains(*member).into()),
            ("SMEMBERS", []) => list(&*of),
            other => panic!("{other:?}"),
        }
    }

    fn scores(&mut self, words: &[&str]) -> Reply {
        let of = collection!(self, words[1], Scores);
        let ranked = Value::ranked(of);
        let told = |all: &[(i64, String)]| {
            let words: Vec<String> =
                all.iter().flat_map(|(score, member)| [member.clone(), score.to_string()]).collect();
            list(&words)
        };
        match (words[0], &words[2..]) {
            ("ZADD", [score, member]) => {
                number(of.insert((*member).to_owned(), score.parse().unwrap()).is_none().into())
            }
            ("ZINCRBY", [by, member]) => {
                let score = of.entry((*member).to_owned()).or_default();
                *score += by.parse::<i64>().unwrap();
                text(&score.to_string())
            }
            ("ZREM", [member]) => number(of.remove(*member).is_some().into()),
            ("ZCARD", []) => number(of.len() as i64),
            ("ZSCORE", [member]) => maybe(of.get(*member).map(i64::to_string).as_ref()),
            ("ZRANK", [member]) => ranked
                .iter()
                .position(|(_, own)| own == member)
                .map_or_else(|| show(&Frame::Null), |rank| number(rank as i64)),
            ("ZRANGE", ["0", "-1", "WITHSCORES"]) => told(&ranked),
            ("ZRANGEBYSCORE", [from, to, "WITHSCORES"]) => {
                let (from, to): (i64, i64) = (from.parse().unwrap(), to.parse().unwrap());
                let found: Vec<_> =
                    ranked.into_iter().filter(|(score, _)| (from..=to).contains(score)).collect();
                told(&found)
            }
            ("ZPOPMIN", []) => {
                let first: Vec<_> = ranked.into_iter().take(1).collect();
                of.retain(|member, _| first.iter().all(|(_, taken)| taken != member));
                told(&first)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn numbers(values: impl Iterator<Item = i64>) -> Reply {
    show(&Frame::Array(values.map(Frame::Integer).collect()))
}

/// Lets fields of a hash end at a time: `[NX|XX|GT|LT] FIELDS count field…`.
fn ends(of: &mut BTreeMap<String, (String, Option<i64>)>, now: i64, at: i64, rest: &[&str]) -> Reply {
    let begin = rest.iter().position(|word| *word == "FIELDS").unwrap();
    numbers(rest[begin + 2..].iter().map(|field| {
        let Some((_, end)) = of.get_mut(*field) else { return -2 };
        let holds = match (rest[0], *end) {
            ("NX", end) => end.is_none(),
            ("XX", end) => end.is_some(),
            ("GT", end) => end.is_some_and(|end| at > end),
            ("LT", end) => end.is_none_or(|end| at < end),
            _ => true,
        };
        if !holds {
            return 0;
        }
        *end = Some(at);
        if at > now {
            return 1;
        }
        of.remove(*field);
        2
    }))
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Commands with K for a key, V for a value, M for a member, N for a small number, T for milliseconds, A for a moment.
const TEMPLATES: &[&str] = &[
    "SET K V",
    "SET K V",
    "SET K N",
    "SET K V PX T",
    "SET K V KEEPTTL",
    "SET K V NX",
    "SET K V XX",
    "GET K",
    "GETDEL K",
    "GETSET K V",
    "APPEND K V",
    "STRLEN K",
    "INCRBY K N",
    "HSET K M V",
    "HSET K M N M V M V",
    "HSET K M V",
    "HGET K M",
    "HDEL K M",
    "HDEL K M M",
    "HLEN K",
    "HEXISTS K M",
    "HGETALL K",
    "HINCRBY K M N",
    "HPEXPIRE K T FIELDS 1 M",
    "HPEXPIRE K T FIELDS 3 M M M",
    "HPEXPIRE K T NX FIELDS 2 M M",
    "HPEXPIRE K T XX FIELDS 1 M",
    "HPEXPIRE K T GT FIELDS 2 M M",
    "HPEXPIRE K T LT FIELDS 2 M M",
    "HPEXPIREAT K A FIELDS 2 M M",
    "HPTTL K FIELDS 2 M M",
    "HPEXPIRETIME K FIELDS 1 M",
    "HPERSIST K FIELDS 2 M M",
    "LPUSH K V",
    "RPUSH K V V",
    "RPUSH K M M M",
    "LPOP K",
    "RPOP K",
    "LLEN K",
    "LINDEX K N",
    "LRANGE K N N",
    "LRANGE K 0 -1",
    "LTRIM K N N",
    "LREM K 0 V",
    "SADD K M",
    "SADD K N M V",
    "SREM K M",
    "SCARD K",
    "SISMEMBER K M",
    "SMEMBERS K",
    "SINTER K K",
    "SDIFF K K",
    "ZADD K N M",
    "ZADD K N V",
    "ZINCRBY K N M",
    "ZREM K M",
    "ZCARD K",
    "ZSCORE K M",
    "ZRANK K M",
    "ZRANGE K 0 -1 WITHSCORES",
    "ZRANGEBYSCORE K N N WITHSCORES",
    "ZPOPMIN K",
    "DEL K",
    "DEL K K",
    "EXISTS K",
    "TYPE K",
    "PEXPIRE K T",
    "PEXPIREAT K A",
    "PTTL K",
    "PERSIST K",
    "RENAME K K",
    "COPY K K REPLACE",
];

fn fill(template: &str, now: i64, random: &mut Random) -> Vec<String> {
    let word = |word: &str| match word {
        "K" => random.pick(&["a", "b", "c", "d", "e", "f", "g", "h"]).to_owned(),
        "V" => match random.below(8) {
            0 => "v".repeat(random.below(200)),
            _ => random
                .pick(&[
                    "",
                    "x",
                    "10",
                    "-3",
                    "two words",
                    "a value that is longer than what fits inline",
                    "é\0\r\n",
                ])
                .to_owned(),
        },
        "M" => match random.below(3) {
            0 => format!("member:{}", random.below(400)),
            _ => random.pick(&["m", "n", "o", "1", "2", "3"]).to_owned(),
        },
        "N" => (i64::try_from(random.below(41)).unwrap() - 20).to_string(),
        "T" => (1 + random.below(3_000)).to_string(),
        "A" => (now - 50 + i64::try_from(random.below(2_000)).unwrap()).to_string(),
        other => other.to_owned(),
    };
    template.split(' ').map(word).collect()
}

/// The engine and its one client.
struct Tested {
    engine: Engine,
    client: ClientId,
}

impl Tested {
    fn new(now_ms: i64) -> Self {
        let settings =
            Settings { seed: 1, secret: [7; 32], now_us: now_ms * 1000, config: Vec::new(), stopwatch: || 0 };
        let mut engine = Engine::new(settings).unwrap();
        let client = engine.connect(Peer::default());
        engine.trust(client);
        Self { engine, client }
    }

    fn run(&mut self, now_ms: i64, words: &[String]) -> Reply {
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        let mut out = Encoder::default();
        self.engine.set_now(now_ms * 1000);
        assert_eq!(self.engine.execute(self.client, &words, &mut out), Flow::Next);
        let (frame, length) = decode(&out.bytes).unwrap().expect("a whole reply");
        assert_eq!(length, out.bytes.len(), "one reply");
        shown(words[0], frame)
    }

    /// The whole of a database as the model would show it.
    fn everything(&mut self, now_ms: i64, model: &Model) -> Vec<(String, Reply)> {
        let mut all = vec![("KEYS".to_owned(), self.run(now_ms, &["KEYS".to_owned(), "*".to_owned()]))];
        for (key, (value, _)) in &model.keys {
            let words: &[&str] = match value {
                Value::String(_) => &["GET", key],
                Value::Hash(_) => &["HGETALL", key],
                Value::List(_) => &["LRANGE", key, "0", "-1"],
                Value::Set(_) => &["SMEMBERS", key],
                Value::Scores(_) => &["ZRANGE", key, "0", "-1", "WITHSCORES"],
            };
            for words in [words, &["PTTL", key]] {
                let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
                all.push((words.join(" "), self.run(now_ms, &words)));
            }
        }
        all
    }
}

/// A reply in the order of the model.
fn shown(name: &[u8], frame: Frame) -> Reply {
    let Frame::Array(mut items) = frame else { return show(&frame) };
    if name == b"HGETALL" {
        let bytes = |frame: &Frame| match frame {
            Frame::Bulk(bytes) => bytes.clone(),
            other => panic!("{other:?}"),
        };
        items = items
            .chunks(2)
            .map(|pair| Frame::Bulk([bytes(&pair[0]), b"=".to_vec(), bytes(&pair[1])].concat()))
            .collect();
    }
    if [&b"HGETALL"[..], b"SMEMBERS", b"SINTER", b"SDIFF", b"KEYS"].contains(&name) {
        items.sort_by_key(show_bytes);
    }
    show(&Frame::Array(items))
}

fn show_bytes(frame: &Frame) -> Vec<u8> {
    match frame {
        Frame::Bulk(bytes) => bytes.clone(),
        other => panic!("{other:?}"),
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn sequence(seed: u64, steps: usize) {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (mut tested, mut model) = (Tested::new(START_MS), Model { now: START_MS, ..Model::default() });
    tested.engine.set_logging(true);
    let mut log = Vec::new();
    for step in 0..steps {
        if random.below(4) == 0 {
            model.now += i64::try_from(random.below(400)).unwrap();
            tested.engine.tick(model.now * 1000);
        }
        let flush = random.below(2_000) == 0;
        let template = if flush { "FLUSHDB" } else { TEMPLATES[random.below(TEMPLATES.len())] };
        let words = fill(template, model.now, &mut random);
        let expected = model.run(&words);
        let found = tested.run(model.now, &words);
        assert_eq!(found, expected, "REGIE_SEED={seed}, step {step}: {words:?}");
        log.extend(tested.engine.take_effects().journal);
        if step % 500 != 499 && step + 1 != steps {
            continue;
        }
        model.expire();
        let mut again = Tested::new(model.now);
        again.engine.set_loading(true);
        again.engine.replay(again.client, &log).unwrap_or_else(|why| panic!("REGIE_SEED={seed}: {why}"));
        again.engine.set_loading(false);
        again.engine.tick(model.now * 1000);
        let expected: Vec<Reply> = everything_of(&model);
        for (who, one) in [("the engine", &mut tested), ("its log", &mut again)] {
            let found = one.everything(model.now, &model);
            for ((what, found), expected) in found.iter().zip(&expected) {
                assert_eq!(found, expected, "REGIE_SEED={seed}, step {step}, {who}: {what}");
            }
        }
        drop(tested.engine.take_effects());
    }
}

fn everything_of(model: &Model) -> Vec<Reply> {
    let mut copy = Model { now: model.now, keys: model.keys.clone() };
    let mut all = vec![copy.reply(&["KEYS", "*"])];
    for (key, (value, _)) in &model.keys {
        let words: &[&str] = match value {
            Value::String(_) => &["GET", key],
            Value::Hash(_) => &["HGETALL", key],
            Value::List(_) => &["LRANGE", key, "0", "-1"],
            Value::Set(_) => &["SMEMBERS", key],
            Value::Scores(_) => &["ZRANGE", key, "0", "-1", "WITHSCORES"],
        };
        all.push(copy.reply(words));
        all.push(copy.reply(&["PTTL", key]));
    }
    all
}

#[test]
fn what_a_group_has_read_is_known_after_its_log_was_run_again() {
    let mut tested = Tested::new(START_MS);
    tested.engine.set_logging(true);
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<String>>();
    for line in [
        "XADD s 1-1 a b",
        "XADD s 1-2 a b",
        "XADD s 1-3 a b",
        "XADD s 1-4 a b",
        "XDEL s 1-2",
        "XGROUP CREATE s g 0",
        "XGROUP CREATE s h 0",
        "XREADGROUP GROUP g one COUNT 1 STREAMS s >",
        "XREADGROUP GROUP g one COUNT 1 STREAMS s >",
        "XREADGROUP GROUP h one COUNT 3 NOACK STREAMS s >",
        "XADD s 1-5 a b",
    ] {
        tested.run(START_MS, &words(line));
    }
    let mut again = Tested::new(START_MS);
    again.engine.set_loading(true);
    again.engine.replay(again.client, &tested.engine.take_effects().journal).unwrap();
    again.engine.set_loading(false);
    for line in ["XINFO GROUPS s", "XPENDING s g", "XRANGE s - +"] {
        assert_eq!(again.run(START_MS, &words(line)), tested.run(START_MS, &words(line)), "{line}");
    }
}

#[test]
fn the_engine_does_what_a_plain_model_does() {
    let steps = usize::try_from(setting("REGIE_STEPS").unwrap_or(4_000)).unwrap();
    match setting("REGIE_SEED") {
        Some(seed) => sequence(seed, steps),
        None => (1..=12).for_each(|seed| sequence(seed, steps)),
    }
}
