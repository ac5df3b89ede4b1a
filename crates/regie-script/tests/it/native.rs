//! The scripts that are done without Lua: Laravel's own, as Debian packages it, and the one of our queue runner must be
//! known by their digests, and must do what Lua does and what redis-server does, to the byte.

use regie_resp::{Encoder, Version};
use regie_script::{Engine, Host, Limits, LogLevel, Replicate, Tick};

use crate::differential::Pair;

const FILE: &str = "/usr/share/php/Illuminate/Queue/LuaScripts.php";
const LEASE: &str = include_str!("../../../regie-queue/src/shell/lease.lua");
const KEYS: [&[u8]; 3] = [b"queues:default", b"queues:default:reserved", b"queues:default:notify"];

/// The body that Laravel sends.
fn pop() -> String {
    let php = std::fs::read_to_string(FILE).expect("LuaScripts.php, of the package php-laravel-framework");
    let (_, rest) = php.split_once("function pop()").unwrap();
    let (_, rest) = rest.split_once("<<<'LUA'\n").unwrap();
    rest.split_once("\nLUA;").unwrap().0.to_owned()
}

/// Answers as it was told, and writes down what it was asked.
struct Scripted {
    replies: Vec<Vec<u8>>,
    asked: Vec<Vec<Vec<u8>>>,
}

impl Host for Scripted {
    fn call(&mut self, args: &[&[u8]], replicate: Replicate, reply: &mut Encoder) {
        assert!(replicate.append_only_file && replicate.replicas && reply.version == Version::Two);
        reply.bytes.extend_from_slice(&self.replies[self.asked.len()]);
        self.asked.push(args.iter().map(|arg| arg.to_vec()).collect());
    }

    fn may_call(&mut self, _: &[&[u8]]) -> Option<bool> {
        None
    }

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn tick(&mut self) -> Tick {
        Tick::Continue
    }

    fn count_error(&mut self, line: &[u8]) {
        self.asked.push(vec![b"counted".to_vec(), line.to_vec()]);
    }
}

/// The reply of a body and what it has called.
type Told = (Vec<u8>, Vec<Vec<Vec<u8>>>);

fn told(engine: &mut Engine, version: Version, body: &str, replies: &[Vec<u8>]) -> Told {
    told_of(engine, version, body, &[b"1700000090"], replies)
}

fn told_of(engine: &mut Engine, version: Version, body: &str, args: &[&[u8]], replies: &[Vec<u8>]) -> Told {
    let id = engine.prepare(body.as_bytes()).unwrap();
    let name = engine.script(id).unwrap().sha.hex();
    let mut host = Scripted { replies: replies.to_vec(), asked: Vec::new() };
    let mut out = Encoder::new(version);
    if let Err(error) = engine.run(id, &KEYS, args, &mut host, &mut out) {
        // The digest is in the text.
        out.bytes = String::from_utf8_lossy(&error.line)
            .replace(std::str::from_utf8(&name).unwrap(), "SHA")
            .into_bytes();
        out.bytes.push(u8::from(error.counted));
    }
    (out.bytes, host.asked)
}

fn bulk(text: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat()
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    fn text(&mut self, out: &mut String) {
        const PIECES: &[&str] = &[
            "a",
            "job",
            "App\\\\Jobs\\\\Mail",
            "\\/",
            "/",
            "\\n",
            "\\u0000",
            "\\u001f",
            "\\u007f",
            "\\u00e9",
            "é",
            "\\ud83d\\ude00",
            "😀",
            "\\\"",
            "\\b\\f\\r\\t",
            "\\u002F",
            "\\u0022",
            " ",
            "O:3:\\\"A\\\":0:{}",
            "\\u0008",
            "0123456789abcdef0123456789abcdef0123456789abcdef",
        ];
        for _ in 0..self.below(4) {
            out.push_str(self.pick(PIECES));
        }
        if self.below(300) == 0 {
            out.push('\u{7f}');
        }
    }

    fn key(&mut self, out: &mut String) {
        const NAMES: &[&str] = &[
            "uuid",
            "displayName",
            "job",
            "maxTries",
            "maxExceptions",
            "failOnTimeout",
            "backoff",
            "timeout",
            "retryUntil",
            "data",
            "command",
            "commandName",
            "batchId",
            "createdAt",
            "id",
            "tags",
            "type",
            "pushedAt",
            "telescope_uuid",
            "delay",
            "silenced",
            "nightwatch",
            "illuminate:log:context",
            "1",
            "2",
            "",
            "ключ",
            "a rather long name of a key that has more than thirty-two bytes",
        ];
        out.push('"');
        match self.below(200) {
            0 => self.text(out),
            1..150 => out.push_str(&format!("k{}", self.below(5000))),
            _ => out.push_str(self.pick(NAMES)),
        }
        out.push('"');
    }

    fn value(&mut self, depth: usize, out: &mut String) {
        const WORDS: &[&str] = &[
            "null",
            "true",
            "false",
            "0",
            "-1",
            "7",
            "1700000000",
            "99999999999999",
            "100000000000000",
            "-0",
            "1.5",
            "1e3",
            "0.1",
            "12345678901234567",
            "01",
            "+1",
            "nul",
            "[]",
            "{}",
            "",
        ];
        match self.below(12) {
            0..5 => {
                out.push('"');
                self.text(out);
                out.push('"');
            }
            5..9 => {
                // The odd ones seldom, so that most texts are whole.
                let count = if self.below(300) == 0 { WORDS.len() } else { 8 };
                out.push_str(self.pick(&WORDS[..count]));
            }
            9 if depth < 5 => {
                out.push('[');
                for index in 0..self.below(5) {
                    out.push_str(if index > 0 { ", " } else { "" });
                    self.value(depth + 1, out);
                }
                out.push(']');
            }
            _ if depth < 5 => self.object(depth + 1, out),
            _ => out.push('1'),
        }
    }

    fn object(&mut self, depth: usize, out: &mut String) {
        out.push('{');
        for index in 0..self.below(14) {
            out.push_str(if index > 0 { "," } else { "" });
            self.key(out);
            out.push(':');
            self.value(depth, out);
        }
        out.push('}');
    }

    fn job(&mut self) -> String {
        const ATTEMPTS: &[&str] = &[
            "0",
            "1",
            "41",
            "0",
            "2",
            "0",
            "99999999999998",
            "99999999999999",
            "-1",
            "\"1\"",
            "null",
            "1.5",
            "[]",
        ];
        let mut job = String::new();
        self.object(0, &mut job);
        if self.below(40) > 0 {
            // At its end, or in front.
            let count = if self.below(8) == 0 { ATTEMPTS.len() } else { 6 };
            let attempts = self.pick(&ATTEMPTS[..count]);
            let empty = job == "{}";
            if self.below(2) == 0 {
                job.insert_str(1, &format!("\"attempts\": {attempts}{}", if empty { "" } else { "," }));
            } else {
                job.pop();
                job.push_str(&format!("{}\"attempts\":{attempts}}}", if empty { "" } else { "," }));
            }
        }
        match self.below(60) {
            0 => job.push('x'),
            1 => drop(job.pop()),
            2 => job.push_str(" \n"),
            3 => job.push('\0'),
            _ => {}
        }
        job
    }
}

fn replies(random: &mut Random, job: &str) -> Vec<Vec<u8>> {
    let error = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n".to_vec();
    let mut replies = vec![bulk(job.as_bytes()), b":1\r\n".to_vec(), bulk(b"1")];
    match random.below(30) {
        0 => replies[0] = b"$-1\r\n".to_vec(),
        1 => replies[0] = error,
        2 => replies[1] = error,
        3 => replies[2] = error,
        4 => replies[1] = b":0\r\n".to_vec(),
        5 => replies[2] = b"$-1\r\n".to_vec(),
        _ => {}
    }
    replies
}

#[test]
fn laravel_s_script_does_without_lua_what_it_does_in_it() {
    let body = pop();
    // Another digest, and so run in Lua.
    let other = format!("{body}\n");
    let mut engine = Engine::new(Limits::default());
    let mut random = Random(0x5eed_0001);
    let mut without_lua = 0;
    for round in 0..6000 {
        let job = random.job();
        let replies = replies(&mut random, &job);
        let version = if round % 2 == 0 { Version::Two } else { Version::Three };
        let before = engine.memory();
        let native = told(&mut engine, version, &body, &replies);
        without_lua += usize::from(engine.memory() == before);
        let lua = told(&mut engine, version, &other, &replies);
        assert_eq!(native, lua, "round {round}: {job}");
    }
    assert!((2000..5500).contains(&without_lua), "both ways are compared: {without_lua} without Lua");
}

/// The digest is known if no Lua runs: what Lua holds does not change then.
#[test]
fn laravel_s_script_is_known() {
    let mut engine = Engine::new(Limits::default());
    let replies = [bulk(br#"{"uuid":"x","attempts":0}"#), b":1\r\n".to_vec(), bulk(b"1")];
    let body = pop();
    engine.prepare(body.as_bytes()).unwrap();
    let before = engine.memory();
    for _ in 0..20 {
        told(&mut engine, Version::Two, &body, &replies);
    }
    assert_eq!(engine.memory(), before, "{FILE} has another script than the one that is known");
    // Options of cjson hold for all scripts: then it is Lua that knows them.
    told(&mut engine, Version::Two, "cjson.encode_number_precision(3)", &[]);
    let replies = [bulk(br#"{"n":12345678,"attempts":0}"#), b":1\r\n".to_vec(), bulk(b"1")];
    let (reply, _) = told(&mut engine, Version::Two, &body, &replies);
    assert!(String::from_utf8_lossy(&reply).contains("1.23e+07"));
}

#[test]
fn laravel_s_script_answers_as_in_redis() {
    let body = pop();
    let mut pair = Pair::start();
    let mut random = Random(0x5eed_0002);
    for round in 0..400 {
        pair.flush();
        let job = random.job();
        let version = if round % 2 == 0 { Version::Two } else { Version::Three };
        let setup = b"redis.call('rpush', KEYS[1], ARGV[1]) redis.call('rpush', KEYS[3], 1)";
        let sides = [
            pair.difference(version, setup, &KEYS, &[job.as_bytes()]),
            pair.difference(version, body.as_bytes(), &KEYS, &[b"1700000090"]),
            pair.difference(
                version,
                b"return redis.call('zrange', KEYS[2], 0, -1, 'WITHSCORES')",
                &KEYS,
                &[],
            ),
        ];
        assert_eq!(sides, [None, None, None], "round {round}: {job}");
    }
}

/// What a lease is told: some jobs, and what becomes of its commands.
fn lease_replies(random: &mut Random, jobs: usize) -> (String, Vec<Vec<u8>>) {
    let error = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n".to_vec();
    let mut list = format!("*{jobs}\r\n").into_bytes();
    let mut seen = String::new();
    for _ in 0..jobs {
        // Most as Laravel writes them, for else a long list would always have one that is not.
        let job = if random.below(jobs * 3) == 0 {
            random.job()
        } else {
            format!("{{\"id\":\"{}\",\"attempts\":{}}}", random.below(1000), random.below(20_000))
        };
        list.extend(bulk(job.as_bytes()));
        seen.push_str(&job);
    }
    let mut replies = vec![list, b"+OK\r\n".to_vec(), b"+OK\r\n".to_vec()];
    replies.extend((0..3).map(|_| b":1\r\n".to_vec()));
    if random.below(6) == 0 {
        let place = random.below(replies.len());
        replies[place] = error;
    }
    (seen, replies)
}

#[test]
fn the_runner_s_lease_does_without_lua_what_it_does_in_it() {
    let other = format!("{LEASE}\n");
    let mut engine = Engine::new(Limits::default());
    let mut random = Random(0x5eed_0003);
    let mut without_lua = 0;
    for round in 0..3000 {
        let count = [0, 1, 2, 5, 99, 100, 101, 200, 201][random.below(9)];
        let (jobs, replies) = lease_replies(&mut random, count);
        let most = random.pick(&["1", "5", "256", "0", "007", "-1", "many", ""]).to_owned();
        let args: [&[u8]; 2] =
            [b"1700000090.25", if random.below(4) == 0 { most.as_bytes() } else { b"256" }];
        let version = if round % 2 == 0 { Version::Two } else { Version::Three };
        let before = engine.memory();
        let native = told_of(&mut engine, version, LEASE, &args, &replies);
        without_lua += usize::from(engine.memory() == before);
        let lua = told_of(&mut engine, version, &other, &args, &replies);
        assert_eq!(native, lua, "round {round}: {args:?} {jobs}");
    }
    assert!((800..2800).contains(&without_lua), "both ways are compared: {without_lua} without Lua");
}

#[test]
fn the_runner_s_lease_answers_as_in_redis() {
    let mut pair = Pair::start();
    let mut random = Random(0x5eed_0004);
    for round in 0..200 {
        pair.flush();
        let version = if round % 2 == 0 { Version::Two } else { Version::Three };
        let jobs: Vec<String> = (0..random.below(120)).map(|_| lease_replies(&mut random, 1).0).collect();
        let words: Vec<&[u8]> = jobs.iter().map(String::as_bytes).collect();
        let setup =
            b"for i = 1, #ARGV do redis.call('rpush', KEYS[1], ARGV[i]) redis.call('rpush', KEYS[3], 1) end";
        let look = b"return {redis.call('lrange', KEYS[1], 0, -1), redis.call('llen', KEYS[3]), \
            redis.call('zrange', KEYS[2], 0, -1, 'WITHSCORES')}";
        let count = (1 + random.below(110)).to_string();
        let sides = [
            pair.difference(version, setup, &KEYS, &words),
            pair.difference(version, LEASE.as_bytes(), &KEYS, &[b"1700000090.5", count.as_bytes()]),
            pair.difference(version, look, &KEYS, &[]),
        ];
        assert_eq!(sides, [None, None, None], "round {round}: {count} of {jobs:?}");
    }
}
