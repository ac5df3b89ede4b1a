//! Fields of hashes that end by themselves, as from Redis 7.4 on. A field that has ended is removed before anybody looks
//! at its hash ([`crate::engine::Engine::end_fields`]), so other commands know nothing of this; HSET lets a field stay,
//! and what changes a field's value leaves its end as it is.

use crate::context::{Ctx, integer, is};
use crate::failure::{Failure, Outcome, WRONG_TYPE};
use crate::notify::Class;
use crate::number::parse_integer;
use crate::value::Value;

/// The latest moment that a field may end at: what Redis's 46 bits hold.
const LATEST: i64 = (1 << 46) - 1;

/// What a field's reply is when it, or the hash, is not there.
const NO_FIELD: i64 = -2;
/// The field is there and does not end.
const STAYS: i64 = -1;

/// Whether the key holds a hash; an error if it holds something else.
fn is_hash(ctx: &mut Ctx<'_>, key: &[u8]) -> Outcome<bool> {
    match ctx.peek(key).map(|entry| &entry.value) {
        None => Ok(false),
        Some(Value::Hash(_)) => Ok(true),
        Some(_) => Err(WRONG_TYPE),
    }
}

/// The fields named by `FIELDS count field…`, which begins at `at`.
fn named<'a>(args: &'a [&'a [u8]], at: usize, bad_count: &'static str) -> Outcome<&'a [&'a [u8]]> {
    if !args.get(at).is_some_and(|word| is(word, "FIELDS")) {
        return Err("ERR Mandatory argument FIELDS is missing or not at the right position".into());
    }
    let count = args.get(at + 1).and_then(|count| parse_integer(count)).filter(|count| *count > 0);
    let count = count.ok_or(bad_count)?;
    let fields = args.get(at + 2..).unwrap_or(&[]);
    if fields.len() as i64 != count {
        return Err("ERR The `numfields` parameter must match the number of arguments".into());
    }
    Ok(fields)
}

fn reply(ctx: &mut Ctx<'_>, replies: &[i64]) {
    ctx.out.array(replies.len());
    replies.iter().for_each(|reply| ctx.out.integer(*reply));
}

/// Which fields get the new end, by the one they have.
#[derive(Debug, Clone, Copy)]
enum Condition {
    Always,
    OnlyWithout,
    OnlyWith,
    OnlyLater,
    OnlyEarlier,
}

impl Condition {
    fn parse(word: &[u8]) -> Self {
        let words = [
            ("NX", Self::OnlyWithout),
            ("XX", Self::OnlyWith),
            ("GT", Self::OnlyLater),
            ("LT", Self::OnlyEarlier),
        ];
        words.into_iter().find(|(known, _)| is(word, known)).map_or(Self::Always, |(_, condition)| condition)
    }

    /// A field that does not end counts as one that ends last.
    fn holds(self, current: Option<i64>, at: i64) -> bool {
        match self {
            Self::Always => true,
            Self::OnlyWithout => current.is_none(),
            Self::OnlyWith => current.is_some(),
            Self::OnlyLater => current.is_some_and(|current| at > current),
            Self::OnlyEarlier => current.is_none_or(|current| at < current),
        }
    }
}

fn expire(ctx: &mut Ctx<'_>, args: &[&[u8]], scale: i64, base: i64, command: &str) -> Outcome {
    let key = args[1];
    let is_there = is_hash(ctx, key)?;
    let amount = integer(args[2])?;
    if amount < 0 {
        return Err("ERR invalid expire time, must be >= 0".into());
    }
    let at = amount.checked_mul(scale).and_then(|ms| ms.checked_add(base)).filter(|at| *at <= LATEST);
    let at = at.ok_or_else(|| Failure::from(format!("ERR invalid expire time in '{command}' command")))?;
    let condition = Condition::parse(args[3]);
    let begin = if matches!(condition, Condition::Always) { 3 } else { 4 };
    let fields = named(args, begin, "ERR Parameter `numFields` should be greater than 0")?;
    if !is_there {
        reply(ctx, &vec![NO_FIELD; fields.len()]);
        return Ok(());
    }
    // The log tells what was done while the field lived.
    let is_past = at <= ctx.now() && !ctx.engine.is_loading;
    let (mut replies, mut deleted, mut set) = (Vec::new(), Vec::new(), Vec::new());
    let Some(hash) = ctx.hash_mut(key)? else { return Ok(()) };
    for &field in fields {
        replies.push(if hash.get(field).is_none() {
            NO_FIELD
        } else if !condition.holds(hash.end_of(field), at) {
            0
        } else if is_past {
            hash.remove(field);
            deleted.push(field);
            2
        } else {
            hash.set_end(field, at);
            set.push(field);
            1
        });
    }
    reply(ctx, &replies);
    ctx.log_nothing();
    if !deleted.is_empty() {
        ctx.log_instead(&[&[b"HDEL", key], &deleted[..]].concat());
    }
    if !set.is_empty() {
        let (at, count) = (at.to_string(), set.len().to_string());
        let words: [&[u8]; 5] = [b"HPEXPIREAT", key, at.as_bytes(), b"FIELDS", count.as_bytes()];
        ctx.log_instead(&[&words, &set[..]].concat());
    }
    if !deleted.is_empty() || !set.is_empty() {
        ctx.changed(Class::HASH, if deleted.is_empty() { "hexpire" } else { "hdel" }, key);
        ctx.delete_if_empty(key);
    }
    Ok(())
}

pub(crate) fn hexpire(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let now = ctx.now();
    expire(ctx, args, 1000, now, "hexpire")
}

pub(crate) fn hpexpire(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let now = ctx.now();
    expire(ctx, args, 1, now, "hpexpire")
}

pub(crate) fn hexpireat(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    expire(ctx, args, 1000, 0, "hexpireat")
}

pub(crate) fn hpexpireat(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    expire(ctx, args, 1, 0, "hpexpireat")
}

const BAD_COUNT: &str = "ERR Number of fields must be a positive integer";

/// Writes for each field what `show` makes of its end.
fn tell(ctx: &mut Ctx<'_>, args: &[&[u8]], show: impl Fn(i64) -> i64) -> Outcome {
    let hash = ctx.engine.hash(ctx.db, args[1])?;
    let fields = named(args, 2, BAD_COUNT)?;
    let of_one = |field: &&[u8]| match hash.filter(|hash| hash.get(field).is_some()) {
        None => NO_FIELD,
        Some(hash) => hash.end_of(field).map_or(STAYS, &show),
    };
    let replies: Vec<i64> = fields.iter().map(of_one).collect();
    reply(ctx, &replies);
    Ok(())
}

pub(crate) fn httl(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let now = ctx.now();
    tell(ctx, args, |at| (at - now + 999) / 1000)
}

pub(crate) fn hpttl(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let now = ctx.now();
    tell(ctx, args, |at| at - now)
}

pub(crate) fn hexpiretime(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    tell(ctx, args, |at| (at + 999) / 1000)
}

pub(crate) fn hpexpiretime(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    tell(ctx, args, |at| at)
}

pub(crate) fn hpersist(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let key = args[1];
    let is_there = is_hash(ctx, key)?;
    let fields = named(args, 2, BAD_COUNT)?;
    if !is_there {
        reply(ctx, &vec![NO_FIELD; fields.len()]);
        return Ok(());
    }
    let Some(hash) = ctx.hash_mut(key)? else { return Ok(()) };
    let replies: Vec<i64> = fields
        .iter()
        .map(|field| match hash.get(field).is_some() {
            false => NO_FIELD,
            true if hash.clear_end(field) => 1,
            true => STAYS,
        })
        .collect();
    reply(ctx, &replies);
    if replies.contains(&1) {
        ctx.changed(Class::HASH, "hpersist", key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::engine::{Engine, FIELDS_A_TICK};
    use crate::session::Peer;
    use crate::testing::{START, ask, engine};
    use regie_resp::Encoder;

    /// Nobody looks at the hash: a tick removes a bounded number of fields, and soon it is gone.
    #[test]
    fn many_fields_that_end_at_once_go_in_small_steps() {
        let (mut engine, client) = engine(&[]);
        for n in 0..10_000 {
            ask(&mut engine, client, &format!("HSET h{} f{n} v", n % 3));
            ask(&mut engine, client, &format!("HPEXPIRE h{} 1000 FIELDS 1 f{n}", n % 3));
        }
        ask(&mut engine, client, "HSET stays f v");
        let fields = |engine: &Engine| -> usize {
            engine.databases[0].table.iter().map(|entry| entry.value.elements()).sum()
        };
        let (mut now, mut left, mut ticks) = (START + 2_000, fields(&engine), 0);
        while left > 1 {
            now += 100;
            engine.tick(now * 1000);
            let gone = left - fields(&engine);
            assert!((1..=FIELDS_A_TICK).contains(&gone), "{gone} fields in a tick");
            left -= gone;
            ticks += 1;
        }
        assert_eq!((ticks, engine.keys()), (5, 1));
    }

    /// What is accounted for such a hash comes and goes with it, and a hash whose fields stay costs nothing more.
    #[test]
    fn memory_is_given_back_with_the_last_end() {
        let (mut engine, client) = engine(&[]);
        ask(&mut engine, client, "HSET h a 1 b 2");
        let plain = engine.memory();
        ask(&mut engine, client, "HEXPIRE h 10 FIELDS 2 a b");
        assert!(engine.memory() > plain + 100, "{} {plain}", engine.memory());
        ask(&mut engine, client, "HSET h a 1");
        ask(&mut engine, client, "HPERSIST h FIELDS 1 b");
        assert_eq!(engine.memory(), plain);
        assert_eq!(engine.databases[0].hash_with_ended_fields(i64::MAX), None);
        for line in ["SET h v", "DEL h", "RENAME h i", "FLUSHALL"] {
            ask(&mut engine, client, "DEL h i");
            ask(&mut engine, client, "HSET h a 1 b 2");
            ask(&mut engine, client, "HEXPIRE h 10 FIELDS 1 a");
            ask(&mut engine, client, line);
            let known = engine.databases[0].hash_with_ended_fields(i64::MAX);
            let expect = (line == "RENAME h i").then_some("i");
            assert_eq!(known.map(|key| key.to_vec()), expect.map(|key| key.as_bytes().to_vec()), "{line}");
        }
    }

    /// DUMP and RESTORE carry the ends, to the millisecond, small and big.
    #[test]
    fn a_dumped_hash_has_its_ends() {
        let (mut engine, client) = engine(&[("hash-max-listpack-entries", "4")]);
        ask(&mut engine, client, "HSET h a 1 b 2 c 3");
        ask(&mut engine, client, "HPEXPIREAT h 1800000000123 FIELDS 1 a");
        ask(&mut engine, client, "HPEXPIREAT h 1900000000456 FIELDS 1 b");
        for _ in 0..2 {
            let mut out = Encoder::default();
            let _ = engine.execute(client, &[b"DUMP", b"h"], &mut out);
            let start = out.bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            let payload = out.bytes[start..out.bytes.len() - 2].to_vec();
            let mut out = Encoder::default();
            let _ = engine.execute(client, &[b"RESTORE", b"r", b"0", &payload, b"REPLACE"], &mut out);
            assert_eq!(out.bytes, b"+OK\r\n");
            assert_eq!(
                ask(&mut engine, client, "HPEXPIRETIME r FIELDS 4 a b c d"),
                "*4\r\n:1800000000123\r\n:1900000000456\r\n:-1\r\n:-2\r\n"
            );
            assert_eq!(
                engine.databases[0].hash_with_ended_fields(1_800_000_000_123).as_deref(),
                Some(&b"h"[..])
            );
            ask(&mut engine, client, "HSET h d 4 e 5");
            ask(&mut engine, client, "HDEL h d");
        }
    }

    /// Listeners to keyspace events hear of each step.
    #[test]
    fn listeners_hear_of_fields() {
        let (mut engine, client) = engine(&[("notify-keyspace-events", "Eh")]);
        let listener = engine.connect(Peer::default());
        ask(&mut engine, listener, "PSUBSCRIBE *");
        ask(&mut engine, client, "HSET h a 1 b 2 c 3");
        let _ = engine.take_effects();
        for (wait, line, expect) in [
            (0, "HEXPIRE h 1 FIELDS 2 a b", "hexpire"),
            (0, "HPERSIST h FIELDS 1 b", "hpersist"),
            (0, "HPEXPIRE h 0 FIELDS 1 b", "hdel"),
            (2_000, "HGET h a", "hexpired"),
        ] {
            engine.set_now((START + wait) * 1000);
            ask(&mut engine, client, line);
            let heard: Vec<u8> =
                engine.take_effects().deliveries.into_iter().flat_map(|(_, bytes)| bytes).collect();
            let heard = String::from_utf8(heard).unwrap();
            let channels: Vec<&str> =
                heard.split("\r\n").filter_map(|word| word.strip_prefix("__keyevent@0__:")).collect();
            assert_eq!(channels, [expect], "{line}");
        }
    }

    /// The log has moments in place of spans, and what has ended is deleted in it.
    #[test]
    fn the_log_tells_moments() {
        let (mut engine, client) = engine(&[("appendonly", "yes")]);
        let logged = |engine: &mut Engine, line: &str| {
            ask(engine, client, line);
            let log = String::from_utf8(engine.take_effects().journal).unwrap();
            let words: Vec<&str> = log.split("\r\n").filter(|word| !word.starts_with(['*', '$'])).collect();
            words.join(" ").trim_end().to_owned()
        };
        logged(&mut engine, "HSET h a 1 b 2.5 c 3");
        for (line, expect) in [
            ("HEXPIRE h 10 FIELDS 3 a none b", "HPEXPIREAT h 1700000010000 FIELDS 2 a b"),
            ("HEXPIRE h 5 GT FIELDS 1 a", ""),
            ("HPEXPIRE h 0 FIELDS 2 c none", "HDEL h c"),
            ("HINCRBYFLOAT h b 1", "HSET h b 3.5 HPEXPIREAT h 1700000010000 FIELDS 1 b"),
            ("HPERSIST h FIELDS 1 a", "HPERSIST h FIELDS 1 a"),
        ] {
            assert_eq!(logged(&mut engine, line), expect, "{line}");
        }
        engine.set_now((START + 11_000) * 1000);
        assert_eq!(logged(&mut engine, "HLEN h"), "HDEL h b");
    }
}
