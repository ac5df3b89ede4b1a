//! Scripts that are known by the digest of their body, done without Lua.
//!
//! | script | whose | what Lua costs |
//! |---|---|---|
//! | [`Native::Pop`] | Laravel's workers (5.8 to 13) take a job: it is decoded, `attempts` counted up, encoded | half of it |
//! | [`Native::Lease`] | Régie's runner takes many jobs at once (`regie-queue`, `lease.lua`) | each payload copied in and out |
//!
//! What comes out is the same to the byte, oddities included: `[]` becomes `{}`, and the keys of an object come in the
//! order in which Lua 5.1's table has them. What this file does not know for certain to be the same (errors of
//! commands, fractions, equal keys, anything that is not plain JSON) is left to Lua: the script runs, and its first
//! commands are answered with what they have already answered ([`Replay`]). Nothing is done twice, and no error is told
//! from here.
//!
//! The commands themselves go the way that they go in a script: rights, statistics, the log and the monitors see no
//! difference.

use regie_resp::{Encoder, Version};

use crate::{Host, LogLevel, Replicate, Sha, Tick};

/// A script that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Native {
    /// Takes the first job off a list, counts the attempt, and puts it with the reserved ones.
    Pop,
    /// Takes the first jobs off a list, counts the attempt where it is the last number, and puts them with the reserved
    /// ones.
    Lease,
}

/// The digest of the script that is [`Native::Pop`].
const POP: &[u8; 40] = b"230148430cb441a76f6486ae084405a674e00385";
/// That of [`Native::Lease`].
const LEASE: &[u8; 40] = b"346d27b017234b11b3d4a47c738ba3c858d3fc07";

impl Native {
    pub(crate) fn of(sha: &Sha) -> Option<Self> {
        match &sha.hex() {
            POP => Some(Self::Pop),
            LEASE => Some(Self::Lease),
            _ => None,
        }
    }
}

/// How deep a job may be nested.
const DEPTH: usize = 64;
/// Digits of a whole number that surely prints as it was read.
const DIGITS: usize = 14;
/// How many forms of objects are remembered.
const SHAPES: usize = 64;
/// Digits of a count of attempts that the lease counts up in its place.
const LAST_DIGITS: usize = 8;
/// Jobs that the lease puts with the reserved ones in one command.
const TOGETHER: usize = 100;

/// What is kept from one job to the next.
#[derive(Debug, Default)]
pub(crate) struct Workshop {
    job: Encoder,
    reply: Encoder,
    reserved: Vec<u8>,
    joined: Vec<u8>,
    /// Orders of keys by the keys' hashes, the latest last.
    shapes: Vec<(Vec<u32>, Vec<u16>)>,
}

/// Answers the first commands of a script with what is known, and passes the others on.
pub(crate) struct Replay<'a> {
    host: &'a mut dyn Host,
    replies: std::vec::IntoIter<Vec<u8>>,
}

impl Host for Replay<'_> {
    fn call(&mut self, args: &[&[u8]], replicate: Replicate, reply: &mut Encoder) {
        match self.replies.next() {
            Some(bytes) => reply.bytes.extend_from_slice(&bytes),
            None => self.host.call(args, replicate, reply),
        }
    }

    fn may_call(&mut self, args: &[&[u8]]) -> Option<bool> {
        self.host.may_call(args)
    }

    fn log_level(&self) -> LogLevel {
        self.host.log_level()
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        self.host.log(level, message);
    }

    fn tick(&mut self) -> Tick {
        self.host.tick()
    }

    fn count_error(&mut self, line: &[u8]) {
        self.host.count_error(line);
    }
}

impl Workshop {
    /// Runs [`Native::Pop`] on its three keys and its argument. `Some`: Lua is to run it with this host.
    pub(crate) fn pop<'a>(
        &mut self,
        keys: [&[u8]; 3],
        until: &[u8],
        host: &'a mut dyn Host,
        out: &mut Encoder,
    ) -> Option<Replay<'a>> {
        ask(host, &[b"lpop", keys[0]], &mut self.job);
        if self.job.bytes == b"$-1\r\n" {
            out.array(2);
            out.null();
            out.null();
            return None;
        }
        let mut replies = Vec::new();
        self.reserved.clear();
        let known = bulk(&self.job.bytes).filter(|job| {
            let mut reader = Reader {
                text: job,
                at: 0,
                out: &mut self.reserved,
                joined: &mut self.joined,
                shapes: &mut self.shapes,
            };
            reader.job().is_some()
        });
        if let Some(job) = known {
            ask(host, &[b"zadd", keys[1], until, &self.reserved], &mut self.reply);
            if self.reply.bytes.first() == Some(&b':') {
                ask(host, &[b"lpop", keys[2]], &mut self.reply);
                if self.reply.bytes.first() == Some(&b'$') {
                    out.array(2);
                    out.bulk(job);
                    out.bulk(&self.reserved);
                    return None;
                }
                // What ZADD has answered is of no use to the script.
                replies.push(b":1\r\n".to_vec());
            }
            replies.push(self.reply.bytes.clone());
        }
        replies.insert(0, self.job.bytes.clone());
        Some(Replay { host, replies: replies.into_iter() })
    }

    /// Runs [`Native::Lease`] on its three keys and its arguments. `Some`: Lua is to run it with this host.
    pub(crate) fn lease<'a>(
        &mut self,
        [queue, reserved, notify]: [&[u8]; 3],
        [score, count]: [&[u8]; 2],
        host: &'a mut dyn Host,
        out: &mut Encoder,
    ) -> Option<Replay<'a>> {
        let replay = |host, replies: Vec<Vec<u8>>| Some(Replay { host, replies: replies.into_iter() });
        let Some(count) = small(count) else { return replay(host, Vec::new()) };
        let mut number = Vec::new();
        regie_resp::write_integer(&mut number, count - 1);
        ask(host, &[b"lrange", queue, b"0", &number], &mut self.job);
        if self.job.bytes == b"*0\r\n" {
            out.array(0);
            return None;
        }
        self.reserved.clear();
        let mut ends = Vec::new();
        let mut count = |job: &&[u8]| {
            let counted = count_last(job, &mut self.reserved);
            ends.push(self.reserved.len());
            counted
        };
        let Some(jobs) = bulks(&self.job.bytes).filter(|jobs| jobs.iter().all(&mut count)) else {
            return replay(host, vec![self.job.bytes.clone()]);
        };
        number.clear();
        regie_resp::write_integer(&mut number, jobs.len() as i64);
        let mut later = Vec::new();
        let mut is_done = |args: &[&[u8]], good: u8| {
            ask(host, args, &mut self.reply);
            later.push(self.reply.bytes.clone());
            self.reply.bytes.first() == Some(&good)
        };
        let mut fine = [queue, notify].iter().all(|list| is_done(&[b"ltrim", list, &number, b"-1"], b'+'));
        let mut start = 0;
        let mut words: Vec<&[u8]> = Vec::with_capacity(2 + 2 * TOGETHER.min(jobs.len()));
        for some in ends.chunks(TOGETHER) {
            words.clear();
            words.extend([&b"zadd"[..], reserved]);
            for &end in some {
                words.extend([score, &self.reserved[start..end]]);
                start = end;
            }
            fine = fine && is_done(&words, b':');
        }
        if !fine {
            later.insert(0, self.job.bytes.clone());
            return replay(host, later);
        }
        out.array(2 * jobs.len());
        for job in jobs {
            out.bulk(job);
            out.bulk(b"");
        }
        None
    }
}

/// Calls a command as a script does that has said nothing of replication.
fn ask(host: &mut dyn Host, args: &[&[u8]], reply: &mut Encoder) {
    reply.bytes.clear();
    reply.version = Version::Two;
    host.call(args, Replicate { append_only_file: true, replicas: true }, reply);
}

/// A number above zero, as Lua prints it back.
fn small(text: &[u8]) -> Option<i64> {
    let plain = (1..=6).contains(&text.len()) && text.iter().all(u8::is_ascii_digit) && text[0] != b'0';
    plain.then(|| text.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

/// Appends a job whose text ends in `"attempts":N}`, with N counted up. False: it does not end so.
fn count_last(job: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(text) = job.strip_suffix(b"}") else { return false };
    let digits = text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (head, count) = text.split_at(text.len() - digits);
    if !(1..=LAST_DIGITS).contains(&digits) || !head.ends_with(b"\"attempts\":") {
        return false;
    }
    let count = count.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    out.extend_from_slice(head);
    regie_resp::write_integer(out, count + 1);
    out.push(b'}');
    true
}

/// The strings of a reply that is an array of nothing else.
fn bulks(reply: &[u8]) -> Option<Vec<&[u8]>> {
    let (count, mut rest) = length(reply, b'*')?;
    let mut found = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, text) = length(rest, b'$')?;
        found.push(text.get(..length)?);
        rest = text.get(length + 2..)?;
    }
    rest.is_empty().then_some(found)
}

/// The number that follows this sign, and what comes behind its line.
fn length(reply: &[u8], sign: u8) -> Option<(usize, &[u8])> {
    let line = reply.strip_prefix(&[sign])?;
    let digits = line.iter().position(|&byte| byte == b'\r')?;
    let number = std::str::from_utf8(&line[..digits]).ok()?.parse().ok()?;
    Some((number, line.get(digits + 2..)?))
}

/// The bytes of a reply that is a string.
fn bulk(reply: &[u8]) -> Option<&[u8]> {
    let end = reply.iter().position(|&byte| byte == b'\r')?;
    if reply.first() != Some(&b'$') {
        return None;
    }
    reply.get(end + 2..reply.len().checked_sub(2)?)
}

/// Reads JSON and writes what `cjson.encode(cjson.decode(text))` gives. Every method gives `None` for what it leaves to
/// Lua.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    out: &'a mut Vec<u8>,
    joined: &'a mut Vec<u8>,
    shapes: &'a mut Vec<(Vec<u32>, Vec<u16>)>,
}

/// A member of an object: where it stands in the output, and the hash of its key.
struct Member {
    start: usize,
    end: usize,
    hash: u32,
}

impl<'a> Reader<'a> {
    /// The whole text: an object whose `attempts` is counted up.
    fn job(&mut self) -> Option<()> {
        self.space();
        let mut counted = false;
        self.object(0, Some(&mut counted))?;
        self.space();
        (self.at == self.text.len() && counted).then_some(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        self.space();
        match self.peek()? {
            b'"' => self.string(),
            b'{' if depth < DEPTH => self.object(depth + 1, None),
            b'[' if depth < DEPTH => self.array(depth + 1),
            b'-' | b'0'..=b'9' => {
                let number = self.number()?;
                regie_resp::write_integer(self.out, number);
                Some(())
            }
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Option<()> {
        for word in [&b"null"[..], b"false", b"true"] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                self.out.extend_from_slice(word);
                return Some(());
            }
        }
        None
    }

    /// A whole number of few digits, as JSON has it; not `-0`, which Lua prints with its sign.
    fn number(&mut self) -> Option<i64> {
        let negative = self.peek()? == b'-';
        self.at += usize::from(negative);
        let digits = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = &self.text[self.at..self.at + digits];
        self.at += digits;
        let follows = matches!(self.peek(), Some(b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'));
        if !(1..=DIGITS).contains(&digits) || !follows || (text[0] == b'0' && (digits > 1 || negative)) {
            return None;
        }
        let number = text.iter().fold(0, |number, &digit| number * 10 + i64::from(digit - b'0'));
        Some(if negative { -number } else { number })
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.expect(b'[')?;
        self.space();
        if self.peek()? == b']' {
            self.at += 1;
            self.out.extend_from_slice(b"{}");
            return Some(());
        }
        self.out.push(b'[');
        loop {
            self.value(depth)?;
            self.space();
            if self.peek()? == b']' {
                self.at += 1;
                self.out.push(b']');
                return Some(());
            }
            self.expect(b',')?;
            self.out.push(b',');
        }
    }

    /// An object. `counted`: this is the job, whose `attempts` is counted up.
    fn object(&mut self, depth: usize, mut counted: Option<&mut bool>) -> Option<()> {
        self.expect(b'{')?;
        self.space();
        if self.peek()? == b'}' {
            self.at += 1;
            self.out.extend_from_slice(b"{}");
            return Some(());
        }
        let begin = self.out.len();
        let mut members: Vec<Member> = Vec::with_capacity(16);
        loop {
            self.space();
            let start = self.out.len();
            let key = self.key()?;
            self.space();
            self.expect(b':')?;
            self.out.push(b':');
            match &mut counted {
                Some(counted) if key == b"attempts" => {
                    self.space();
                    let attempts = self.number()?;
                    regie_resp::write_integer(self.out, attempts + 1);
                    // One more digit could be one too many for Lua to print without an exponent.
                    **counted = attempts < 10_i64.pow(DIGITS as u32) - 1;
                }
                _ => self.value(depth)?,
            }
            members.push(Member { start, end: self.out.len(), hash: hash(key) });
            self.space();
            if self.peek()? == b'}' {
                self.at += 1;
                break;
            }
            self.expect(b',')?;
        }
        self.arrange(begin, &members)
    }

    /// A key without escapes.
    fn key(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let text: &'a [u8] = self.text;
        let rest = &text[self.at..];
        let key = &rest[..rest.iter().position(|&byte| SPECIAL[usize::from(byte)])?];
        self.at += key.len();
        self.expect(b'"')?;
        self.out.push(b'"');
        self.out.extend_from_slice(key);
        self.out.push(b'"');
        Some(key)
    }

    fn string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        self.out.push(b'"');
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.iter().position(|&byte| SPECIAL[usize::from(byte)])?;
            self.out.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match rest[plain] {
                b'"' => {
                    self.at += 1;
                    self.out.push(b'"');
                    return Some(());
                }
                b'/' => {
                    self.at += 1;
                    self.out.extend_from_slice(b"\\/");
                }
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        let letter = *self.text.get(self.at + 1)?;
        match letter {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 2;
                self.out.extend_from_slice(&[b'\\', letter]);
            }
            b'u' => {
                let code = self.unicode()?;
                put_character(self.out, code);
            }
            _ => return None,
        }
        Some(())
    }

    /// `\uXXXX`, or a pair of them.
    fn unicode(&mut self) -> Option<char> {
        let high = hex(self.text.get(self.at + 2..self.at + 6)?)?;
        self.at += 6;
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high);
        }
        let pair = self.text.get(self.at..self.at + 6)?.strip_prefix(b"\\u")?;
        let low = hex(pair).filter(|low| (0xdc00..0xe000).contains(low))?;
        self.at += 6;
        char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
    }

    /// Puts the members, which stand in the output from `begin` on, into braces and into the order of Lua's table.
    fn arrange(&mut self, begin: usize, members: &[Member]) -> Option<()> {
        let is_it = |(hashes, _): &&(Vec<u32>, Vec<u16>)| {
            hashes.len() == members.len()
                && hashes.iter().zip(members).all(|(hash, member)| *hash == member.hash)
        };
        if !self.shapes.iter().rev().any(|shape| is_it(&shape)) {
            let hashes: Vec<u32> = members.iter().map(|member| member.hash).collect();
            let order = order(&hashes)?;
            if self.shapes.len() == SHAPES {
                self.shapes.remove(0);
            }
            self.shapes.push((hashes, order));
        }
        let (_, order) = self.shapes.iter().rev().find(is_it)?;
        self.joined.clear();
        for (place, &index) in order.iter().enumerate() {
            let member = &members[usize::from(index)];
            self.joined.push(if place == 0 { b'{' } else { b',' });
            self.joined.extend_from_slice(&self.out[member.start..member.end]);
        }
        self.out.truncate(begin);
        self.out.extend_from_slice(self.joined);
        self.out.push(b'}');
        Some(())
    }
}

/// Bytes that do not stand for themselves within a string.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        special[byte] = true;
        byte += 1;
    }
    special[b'"' as usize] = true;
    special[b'\\' as usize] = true;
    special[b'/' as usize] = true;
    special[0x7f] = true;
    special
};

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |code, &digit| Some(code << 4 | (digit as char).to_digit(16)?))
}

/// As cjson encodes it within a string.
fn put_character(out: &mut Vec<u8>, character: char) {
    match character {
        '"' | '\\' | '/' => out.extend_from_slice(&[b'\\', character as u8]),
        '\u{8}' => out.extend_from_slice(b"\\b"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\u{c}' => out.extend_from_slice(b"\\f"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\0'..='\x1f' | '\x7f' => {
            let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
            let byte = character as u8;
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// The hash of a string that places it in a table: Lua 5.1's, with every byte, as Redis has it.
fn hash(text: &[u8]) -> u32 {
    text.iter().rev().fold(text.len() as u32, |hash, &byte| {
        hash ^ (hash << 5).wrapping_add(hash >> 2).wrapping_add(u32::from(byte))
    })
}

/// The order in which Lua 5.1 walks over a table that these keys were put into one after the other. `None` when two
/// hashes are equal: then the keys may be.
fn order(hashes: &[u32]) -> Option<Vec<u16>> {
    let mut sorted = hashes.to_vec();
    sorted.sort_unstable();
    if hashes.len() > usize::from(u16::MAX) || sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return None;
    }
    let mut table = Table { hashes, nodes: Vec::new(), free: 0 };
    (0..hashes.len() as u16).for_each(|key| table.insert(key));
    Some(table.nodes.iter().filter_map(|node| node.key).collect())
}

#[derive(Debug, Clone, Copy, Default)]
struct Node {
    key: Option<u16>,
    next: Option<usize>,
}

/// The hash part of a table: chained scatter with Brent's variation, as ltable.c of Lua 5.1 has it.
struct Table<'a> {
    hashes: &'a [u32],
    nodes: Vec<Node>,
    /// All free places are before this one.
    free: usize,
}

impl Table<'_> {
    fn main_place(&self, key: u16) -> usize {
        self.hashes[usize::from(key)] as usize & (self.nodes.len() - 1)
    }

    fn free_place(&mut self) -> Option<usize> {
        while self.free > 0 {
            self.free -= 1;
            if self.nodes[self.free].key.is_none() {
                return Some(self.free);
            }
        }
        None
    }

    fn insert(&mut self, key: u16) {
        if self.nodes.is_empty() {
            self.grow();
        }
        let mut place = self.main_place(key);
        if let Some(other) = self.nodes[place].key {
            let Some(free) = self.free_place() else {
                self.grow();
                return self.insert(key);
            };
            let mut before = self.main_place(other);
            if before == place {
                // The other is where it belongs: the new one goes to the free place.
                self.nodes[free].next = self.nodes[place].next.replace(free);
                place = free;
            } else {
                // The other gives way.
                while self.nodes[before].next != Some(place) {
                    before = self.nodes[before].next.expect("a chain that leads to the place");
                }
                self.nodes[before].next = Some(free);
                self.nodes[free] = std::mem::take(&mut self.nodes[place]);
            }
        }
        self.nodes[place].key = Some(key);
    }

    /// Room for one key more, and all put in anew, the last place first.
    fn grow(&mut self) {
        let count = self.nodes.iter().filter(|node| node.key.is_some()).count() + 1;
        let size = count.next_power_of_two();
        let old = std::mem::replace(&mut self.nodes, vec![Node::default(); size]);
        self.free = size;
        old.iter().rev().filter_map(|node| node.key).for_each(|key| self.insert(key));
    }
}
