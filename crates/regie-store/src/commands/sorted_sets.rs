//! Sorted sets.

use crate::commands::keys::scan_options;
use crate::commands::some::Asked;
use crate::context::{Ctx, float, index_range, integer, is, timeout};
use crate::failure::{Failure, NOT_POSITIVE, Outcome, SYNTAX};
use crate::notify::Class;
use crate::number::{format_double, parse_double};
use crate::session::Waiting;
use crate::structures::sorted_set::{Member, SortedSet};
use crate::value::Value;
use regie_resp::{Encoder, Version};

const NAN: &str = "ERR resulting score is not a number (NaN)";

#[derive(Default)]
struct AddOptions {
    only_new: bool,
    only_there: bool,
    greater: bool,
    less: bool,
    count_changed: bool,
    increment: bool,
}

pub(crate) fn zadd(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let mut options = AddOptions::default();
    let mut at = 2;
    while at < args.len() {
        match () {
            () if is(args[at], "NX") => options.only_new = true,
            () if is(args[at], "XX") => options.only_there = true,
            () if is(args[at], "GT") => options.greater = true,
            () if is(args[at], "LT") => options.less = true,
            () if is(args[at], "CH") => options.count_changed = true,
            () if is(args[at], "INCR") => options.increment = true,
            () => break,
        }
        at += 1;
    }
    let pairs = &args[at..];
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(SYNTAX);
    }
    if options.only_new && options.only_there {
        return Err("ERR XX and NX options at the same time are not compatible".into());
    }
    if [options.greater, options.less, options.only_new].iter().filter(|given| **given).count() > 1 {
        return Err("ERR GT, LT, and/or NX options at the same time are not compatible".into());
    }
    if options.increment && pairs.len() > 2 {
        return Err("ERR INCR option supports a single increment-element pair".into());
    }
    if let [score, _] = pairs {
        return add(ctx, args[1], pairs, &[float(score)?], &options);
    }
    let scores = pairs.chunks(2).map(|pair| float(pair[0])).collect::<Outcome<Vec<f64>>>()?;
    add(ctx, args[1], pairs, &scores, &options)
}

fn add(ctx: &mut Ctx<'_>, key: &[u8], pairs: &[&[u8]], scores: &[f64], options: &AddOptions) -> Outcome {
    let (bounds, seed) = (ctx.engine.config.sorted_set, ctx.database().table.seed());
    if options.only_there && ctx.sorted_set_mut(key)?.is_none() {
        if options.increment {
            ctx.out.null();
        } else {
            ctx.out.integer(0);
        }
        return Ok(());
    }
    let set = ctx.sorted_set_or_new(key)?;
    let (mut added, mut updated, mut last) = (0, 0, None);
    let mut not_a_number = false;
    for (pair, &score) in pairs.chunks(2).zip(scores) {
        let name = pair[1];
        let old = set.score(name);
        if (options.only_new && old.is_some()) || (options.only_there && old.is_none()) {
            continue;
        }
        let mut score = score;
        if let (true, Some(old)) = (options.increment, old) {
            score += old;
            if score.is_nan() {
                not_a_number = true;
                break;
            }
        }
        if old.is_some_and(|old| (options.greater && score <= old) || (options.less && score >= old)) {
            continue;
        }
        set.change(old, name, score, bounds, seed);
        last = Some(score);
        match old {
            None => added += 1,
            Some(old) if old != score => updated += 1,
            Some(_) => {}
        }
    }
    if added + updated > 0 {
        ctx.changed(Class::SORTED_SET, if options.increment { "zincr" } else { "zadd" }, key);
    }
    if added == 0 {
        ctx.delete_if_empty(key);
    }
    if not_a_number {
        return Err(NAN.into());
    }
    match (options.increment, last) {
        (true, Some(score)) => ctx.out.double(score),
        (true, None) => ctx.out.null(),
        (false, _) => ctx.out.integer(added + if options.count_changed { updated } else { 0 }),
    }
    Ok(())
}

pub(crate) fn zincrby(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let score = float(args[2])?;
    let options = AddOptions { increment: true, ..AddOptions::default() };
    add(ctx, args[1], &args[2..], &[score], &options)
}

pub(crate) fn zrem(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let gone = match ctx.sorted_set_mut(args[1])? {
        None => 0,
        Some(set) => args[2..].iter().filter(|name| set.remove(name).is_some()).count(),
    };
    if gone > 0 {
        ctx.changed(Class::SORTED_SET, "zrem", args[1]);
        ctx.delete_if_empty(args[1]);
    }
    ctx.out.integer(gone as i64);
    Ok(())
}

pub(crate) fn zcard(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let length = ctx.sorted_set(args[1])?.map_or(0, SortedSet::len);
    ctx.out.integer(length as i64);
    Ok(())
}

pub(crate) fn zscore(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    match ctx.sorted_set(args[1])?.and_then(|set| set.score(args[2])) {
        Some(score) => ctx.out.double(score),
        None => ctx.out.null(),
    }
    Ok(())
}

pub(crate) fn zmscore(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let set = ctx.engine.sorted_set(ctx.db, args[1])?;
    ctx.out.array(args.len() - 2);
    for name in &args[2..] {
        match set.and_then(|set| set.score(name)) {
            Some(score) => ctx.out.double(score),
            None => ctx.out.null(),
        }
    }
    Ok(())
}

fn rank(ctx: &mut Ctx<'_>, args: &[&[u8]], reverse: bool) -> Outcome {
    let rank = ctx
        .sorted_set(args[1])?
        .and_then(|set| set.rank(args[2]).map(|rank| if reverse { set.len() - 1 - rank } else { rank }));
    match rank {
        Some(rank) => ctx.out.integer(rank as i64),
        None => ctx.out.null(),
    }
    Ok(())
}

pub(crate) fn zrank(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    rank(ctx, args, false)
}

pub(crate) fn zrevrank(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    rank(ctx, args, true)
}

/// One bound of a range of scores or names.
#[derive(Debug, Clone)]
enum Bound {
    Score(f64, bool),
    Name(Vec<u8>, bool),
    Lowest,
    Highest,
}

impl Bound {
    fn score(text: &[u8]) -> Outcome<Self> {
        let (text, exclusive) = match text {
            [b'(', rest @ ..] => (rest, true),
            rest => (rest, false),
        };
        let score = parse_double(text).ok_or("ERR min or max is not a float")?;
        Ok(Self::Score(score, exclusive))
    }

    fn name(text: &[u8]) -> Outcome<Self> {
        match text {
            [b'-'] => Ok(Self::Lowest),
            [b'+'] => Ok(Self::Highest),
            [b'(', rest @ ..] => Ok(Self::Name(rest.to_vec(), true)),
            [b'[', rest @ ..] => Ok(Self::Name(rest.to_vec(), false)),
            _ => Err("ERR min or max not valid string range item".into()),
        }
    }

    /// Whether a member lies before the range whose lower bound this is.
    fn is_above(&self, member: &Member) -> bool {
        match self {
            Self::Score(score, exclusive) => member.score < *score || (*exclusive && member.score == *score),
            Self::Name(name, exclusive) => {
                member.name.as_slice() < &name[..] || (*exclusive && member.name.as_slice() == &name[..])
            }
            Self::Lowest => false,
            Self::Highest => true,
        }
    }

    /// Whether a member lies within the range whose upper bound this is.
    fn reaches(&self, member: &Member) -> bool {
        match self {
            Self::Score(score, exclusive) => member.score < *score || (!*exclusive && member.score == *score),
            Self::Name(name, exclusive) => {
                member.name.as_slice() < &name[..] || (!*exclusive && member.name.as_slice() == &name[..])
            }
            Self::Lowest => false,
            Self::Highest => true,
        }
    }
}

/// What a range command asks for.
#[derive(Debug, Clone)]
enum Range {
    Index(i64, i64),
    Between(Bound, Bound),
}

impl Range {
    fn scores(low: &[u8], high: &[u8]) -> Outcome<Self> {
        Ok(Self::Between(Bound::score(low)?, Bound::score(high)?))
    }

    fn names(low: &[u8], high: &[u8]) -> Outcome<Self> {
        Ok(Self::Between(Bound::name(low)?, Bound::name(high)?))
    }

    /// The ranks it covers.
    fn ranks(&self, set: &SortedSet, reverse: bool) -> std::ops::Range<usize> {
        match self {
            Self::Index(start, end) => {
                let range = index_range(*start, *end, set.len());
                if reverse { set.len() - range.end..set.len() - range.start } else { range }
            }
            Self::Between(low, high) => {
                let start = set.partition_point(|member| low.is_above(member));
                let end = set.partition_point(|member| high.reaches(member));
                start..end.max(start)
            }
        }
    }
}

/// Ranks within `ranks` that LIMIT leaves, counted from the end when reversed.
fn limited(
    ranks: std::ops::Range<usize>,
    limit: Option<(i64, i64)>,
    reverse: bool,
) -> std::ops::Range<usize> {
    let Some((offset, count)) = limit else { return ranks };
    let Ok(offset) = usize::try_from(offset) else { return 0..0 };
    let offset = offset.min(ranks.len());
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(ranks.len() - offset);
    if reverse {
        ranks.end - offset - count..ranks.end - offset
    } else {
        ranks.start + offset..ranks.start + offset + count
    }
}

pub(crate) fn write_members<'a>(
    out: &mut Encoder,
    members: impl Iterator<Item = &'a Member>,
    count: usize,
    scores: bool,
) {
    let pairs = scores && out.version == Version::Three;
    out.array(if scores && !pairs { count * 2 } else { count });
    for member in members {
        if pairs {
            out.array(2);
        }
        out.bulk(&member.name);
        if scores {
            out.double(member.score);
        }
    }
}

/// A whole range command.
struct Query<'a> {
    range: Range,
    reverse: bool,
    limit: Option<(i64, i64)>,
    scores: bool,
    store: Option<&'a [u8]>,
}

fn answer(ctx: &mut Ctx<'_>, key: &[u8], query: &Query<'_>) -> Outcome {
    let set = ctx.engine.sorted_set(ctx.db, key)?;
    let ranks =
        set.map_or(0..0, |set| limited(query.range.ranks(set, query.reverse), query.limit, query.reverse));
    let Some(target) = query.store else {
        let members = set.into_iter().flat_map(|set| set.range(ranks.start, ranks.end, query.reverse));
        write_members(ctx.out, members, ranks.len(), query.scores);
        return Ok(());
    };
    let members: Vec<Member> =
        set.into_iter().flat_map(|set| set.range(ranks.start, ranks.end, false)).cloned().collect();
    store(ctx, target, members.iter().map(|m| (m.name.to_vec(), m.score)).collect(), "zrangestore");
    Ok(())
}

/// Puts a sorted set in place of what is under `target` and answers with its length.
pub(crate) fn store(ctx: &mut Ctx<'_>, target: &[u8], members: Vec<(Vec<u8>, f64)>, event: &str) {
    let (bounds, seed) = (ctx.engine.config.sorted_set, ctx.database().table.seed());
    let existed = ctx.exists(target);
    if let Some(old) = ctx.remove(target) {
        ctx.discard(old);
    }
    let count = members.len();
    if members.is_empty() {
        if existed {
            ctx.changed(Class::GENERIC, "del", target);
        }
    } else {
        let mut set = SortedSet::new();
        for (name, score) in members {
            // A small set in Redis keeps whole numbers, of which no zero is negative.
            set.set(&name, score + 0.0, bounds, seed);
        }
        ctx.insert(target, Value::SortedSet(Box::new(set)));
        ctx.changed(Class::SORTED_SET, event, target);
    }
    ctx.out.integer(count as i64);
}

/// `ZRANGE`'s options from `at` on, for a range between `low` and `high`.
fn range_query<'a>(args: &[&'a [u8]], at: usize, store: Option<&'a [u8]>) -> Outcome<Query<'a>> {
    let (mut by_score, mut by_name, mut reverse, mut scores, mut limit) = (false, false, false, false, None);
    let mut index = at + 2;
    while index < args.len() {
        match () {
            () if is(args[index], "BYSCORE") => by_score = true,
            () if is(args[index], "BYLEX") => by_name = true,
            () if is(args[index], "REV") => reverse = true,
            () if is(args[index], "WITHSCORES") && store.is_none() => scores = true,
            () if is(args[index], "LIMIT") && index + 2 < args.len() => {
                limit = Some((integer(args[index + 1])?, integer(args[index + 2])?));
                index += 2;
            }
            () => return Err(SYNTAX),
        }
        index += 1;
    }
    if limit.is_some() && !by_score && !by_name {
        return Err(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX".into()
        );
    }
    if scores && by_name {
        return Err("ERR syntax error, WITHSCORES not supported in combination with BYLEX".into());
    }
    let (low, high) =
        if reverse && (by_score || by_name) { (args[at + 1], args[at]) } else { (args[at], args[at + 1]) };
    let range = match (by_score, by_name) {
        (true, true) => return Err(SYNTAX),
        (true, false) => Range::scores(low, high)?,
        (false, true) => Range::names(low, high)?,
        (false, false) => Range::Index(integer(low)?, integer(high)?),
    };
    Ok(Query { range, reverse, limit, scores, store })
}

pub(crate) fn zrange(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let query = range_query(args, 2, None)?;
    answer(ctx, args[1], &query)
}

pub(crate) fn zrangestore(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let query = range_query(args, 3, Some(args[1]))?;
    answer(ctx, args[2], &query)
}

/// `WITHSCORES` and `LIMIT` of the older commands.
fn older_options(args: &[&[u8]], may_score: bool) -> Outcome<(bool, Option<(i64, i64)>)> {
    let (mut scores, mut limit) = (false, None);
    let mut at = 4;
    while at < args.len() {
        match () {
            () if may_score && is(args[at], "WITHSCORES") => scores = true,
            () if is(args[at], "LIMIT") && at + 2 < args.len() => {
                limit = Some((integer(args[at + 1])?, integer(args[at + 2])?));
                at += 2;
            }
            () => return Err(SYNTAX),
        }
        at += 1;
    }
    Ok((scores, limit))
}

pub(crate) fn zrevrange(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let scores = match &args[4..] {
        [] => false,
        [word] if is(word, "WITHSCORES") => true,
        _ => return Err(SYNTAX),
    };
    let range = Range::Index(integer(args[2])?, integer(args[3])?);
    answer(ctx, args[1], &Query { range, reverse: true, limit: None, scores, store: None })
}

pub(crate) fn zrangebyscore(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let range = Range::scores(args[2], args[3])?;
    let (scores, limit) = older_options(args, true)?;
    answer(ctx, args[1], &Query { range, reverse: false, limit, scores, store: None })
}

pub(crate) fn zrevrangebyscore(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let range = Range::scores(args[3], args[2])?;
    let (scores, limit) = older_options(args, true)?;
    answer(ctx, args[1], &Query { range, reverse: true, limit, scores, store: None })
}

pub(crate) fn zrangebylex(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let range = Range::names(args[2], args[3])?;
    let (scores, limit) = older_options(args, false)?;
    answer(ctx, args[1], &Query { range, reverse: false, limit, scores, store: None })
}

pub(crate) fn zrevrangebylex(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let range = Range::names(args[3], args[2])?;
    let (scores, limit) = older_options(args, false)?;
    answer(ctx, args[1], &Query { range, reverse: true, limit, scores, store: None })
}

fn count_range(ctx: &mut Ctx<'_>, key: &[u8], range: &Range) -> Outcome {
    let count = ctx.sorted_set(key)?.map_or(0, |set| range.ranks(set, false).len());
    ctx.out.integer(count as i64);
    Ok(())
}

pub(crate) fn zcount(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    count_range(ctx, args[1], &Range::scores(args[2], args[3])?)
}

pub(crate) fn zlexcount(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    count_range(ctx, args[1], &Range::names(args[2], args[3])?)
}

fn remove_range(ctx: &mut Ctx<'_>, key: &[u8], range: &Range, event: &str) -> Outcome {
    let Some(set) = ctx.sorted_set_mut(key)? else {
        ctx.out.integer(0);
        return Ok(());
    };
    let ranks = range.ranks(set, false);
    let names: Vec<_> = set.range(ranks.start, ranks.end, false).map(|member| member.name.clone()).collect();
    for name in &names {
        set.remove(name);
    }
    if !names.is_empty() {
        ctx.changed(Class::SORTED_SET, event, key);
        ctx.delete_if_empty(key);
    }
    ctx.out.integer(names.len() as i64);
    Ok(())
}

pub(crate) fn zremrangebyrank(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    remove_range(ctx, args[1], &Range::Index(integer(args[2])?, integer(args[3])?), "zremrangebyrank")
}

pub(crate) fn zremrangebyscore(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    remove_range(ctx, args[1], &Range::scores(args[2], args[3])?, "zremrangebyscore")
}

pub(crate) fn zremrangebylex(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    remove_range(ctx, args[1], &Range::names(args[2], args[3])?, "zremrangebylex")
}

/// Takes `count` members off one end and tells of it.
fn pop(ctx: &mut Ctx<'_>, key: &[u8], highest: bool, count: usize) -> Outcome<Vec<Member>> {
    let Some(set) = ctx.sorted_set_mut(key)? else { return Ok(Vec::new()) };
    let count = count.min(set.len());
    let ranks = if highest { set.len() - count..set.len() } else { 0..count };
    let members: Vec<Member> = set.range(ranks.start, ranks.end, highest).cloned().collect();
    for member in &members {
        set.remove(&member.name);
    }
    if !members.is_empty() {
        ctx.changed(Class::SORTED_SET, if highest { "zpopmax" } else { "zpopmin" }, key);
        ctx.delete_if_empty(key);
    }
    Ok(members)
}

fn pop_command(ctx: &mut Ctx<'_>, args: &[&[u8]], highest: bool) -> Outcome {
    let count = match args {
        [_, _] => None,
        [_, _, count] => {
            Some(usize::try_from(integer(count).map_err(|_| NOT_POSITIVE)?).map_err(|_| NOT_POSITIVE)?)
        }
        _ => return Err(SYNTAX),
    };
    let members = pop(ctx, args[1], highest, count.unwrap_or(1))?;
    if count.is_none() && ctx.out.version == Version::Three {
        ctx.out.array(members.len() * 2);
        for member in &members {
            ctx.out.bulk(&member.name);
            ctx.out.double(member.score);
        }
    } else {
        write_members(ctx.out, members.iter(), members.len(), true);
    }
    Ok(())
}

pub(crate) fn zpopmin(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    pop_command(ctx, args, false)
}

pub(crate) fn zpopmax(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    pop_command(ctx, args, true)
}

fn blocking_pop(ctx: &mut Ctx<'_>, args: &[&[u8]], highest: bool) -> Outcome {
    let keys = &args[1..args.len() - 1];
    let wait = timeout(args[args.len() - 1], ctx.now())?;
    for &key in keys {
        if let Some(member) = pop(ctx, key, highest, 1)?.first() {
            ctx.out.array(3);
            ctx.out.bulk(key);
            ctx.out.bulk(&member.name);
            ctx.out.double(member.score);
            ctx.log_instead(&[if highest { b"ZPOPMAX" } else { b"ZPOPMIN" }, key]);
            return Ok(());
        }
    }
    if !ctx.block(Waiting::SortedSet, keys, wait, args) {
        ctx.out.null_array();
    }
    Ok(())
}

pub(crate) fn bzpopmin(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    blocking_pop(ctx, args, false)
}

pub(crate) fn bzpopmax(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    blocking_pop(ctx, args, true)
}

/// `numkeys key… MIN|MAX [COUNT n]`, from `at` on.
fn several<'a, 'b>(args: &'b [&'a [u8]], at: usize) -> Outcome<(&'b [&'a [u8]], bool, usize)> {
    let number = integer(args[at]).ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| Failure::from("ERR numkeys should be greater than 0"))? as usize;
    let where_at = at.checked_add(number).and_then(|at| at.checked_add(1)).ok_or(SYNTAX)?;
    let highest = match args.get(where_at) {
        Some(word) if is(word, "MIN") => false,
        Some(word) if is(word, "MAX") => true,
        _ => return Err(SYNTAX),
    };
    let count = match &args[where_at + 1..] {
        [] => 1,
        [word, count] if is(word, "COUNT") => {
            let count = integer(count).ok().filter(|count| *count > 0);
            count.ok_or_else(|| Failure::from("ERR count should be greater than 0"))? as usize
        }
        _ => return Err(SYNTAX),
    };
    Ok((&args[at + 1..where_at], highest, count))
}

fn pop_several(ctx: &mut Ctx<'_>, keys: &[&[u8]], highest: bool, count: usize) -> Outcome<bool> {
    for &key in keys {
        let members = pop(ctx, key, highest, count)?;
        if members.is_empty() {
            continue;
        }
        ctx.out.array(2);
        ctx.out.bulk(key);
        ctx.out.array(members.len());
        for member in &members {
            ctx.out.array(2);
            ctx.out.bulk(&member.name);
            ctx.out.double(member.score);
        }
        let name: &[u8] = if highest { b"ZPOPMAX" } else { b"ZPOPMIN" };
        ctx.log_instead(&[name, key, members.len().to_string().as_bytes()]);
        return Ok(true);
    }
    Ok(false)
}

pub(crate) fn zmpop(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (keys, highest, count) = several(args, 1)?;
    if !pop_several(ctx, keys, highest, count)? {
        ctx.out.null_array();
    }
    Ok(())
}

pub(crate) fn bzmpop(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let wait = timeout(args[1], ctx.now())?;
    let (keys, highest, count) = several(args, 2)?;
    if !pop_several(ctx, keys, highest, count)? && !ctx.block(Waiting::SortedSet, keys, wait, args) {
        ctx.out.null_array();
    }
    Ok(())
}

pub(crate) fn zrandmember(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let asked = Asked::parse(args, "WITHSCORES")?;
    let mut random = ctx.engine.random.fork();
    let set = ctx.engine.sorted_set(ctx.db, args[1])?;
    let Some(count) = asked.count else {
        match set.and_then(|set| set.random(&mut random)) {
            Some(member) => ctx.out.bulk(&member.name),
            None => ctx.out.null(),
        }
        return Ok(());
    };
    let Some(set) = set else {
        ctx.out.array(0);
        return Ok(());
    };
    let chosen: Vec<&Member> =
        count.choose(&mut random, |random| set.random(random), || set.iter().collect());
    write_members(ctx.out, chosen.iter().copied(), chosen.len(), asked.with);
    Ok(())
}

pub(crate) fn zscan(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let options = scan_options(args, 2)?;
    let (mut cursor, mut seen) = (options.cursor, 0);
    let mut found: Vec<(Vec<u8>, f64)> = Vec::new();
    if let Some(set) = ctx.sorted_set(args[1])? {
        for _ in 0..options.count.saturating_mul(10) {
            cursor = set.scan(cursor, |member| {
                seen += 1;
                if options.accepts(&member.name) {
                    found.push((member.name.to_vec(), member.score));
                }
            });
            if cursor == 0 || seen >= options.count {
                break;
            }
        }
    } else {
        cursor = 0;
    }
    ctx.out.array(2);
    ctx.out.bulk(cursor.to_string().as_bytes());
    ctx.out.array(found.len() * 2);
    for (name, score) in found {
        ctx.out.bulk(&name);
        ctx.out.bulk(format_double(score).as_bytes());
    }
    Ok(())
}
