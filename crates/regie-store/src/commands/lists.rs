//! Lists.

use crate::context::{Ctx, index_range, integer, is, timeout};
use crate::failure::{Failure, NO_KEY, NOT_POSITIVE, OUT_OF_RANGE, Outcome, SYNTAX, wrong_arity};
use crate::notify::Class;
use crate::session::Waiting;
use crate::structures::list::List;

/// An end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Left,
    Right,
}

impl End {
    fn parse(word: &[u8]) -> Outcome<Self> {
        match () {
            () if is(word, "LEFT") => Ok(Self::Left),
            () if is(word, "RIGHT") => Ok(Self::Right),
            () => Err(SYNTAX),
        }
    }

    const fn word(self) -> &'static [u8] {
        match self {
            Self::Left => b"LEFT",
            Self::Right => b"RIGHT",
        }
    }

    const fn pop_event(self) -> &'static str {
        match self {
            Self::Left => "lpop",
            Self::Right => "rpop",
        }
    }

    const fn push_event(self) -> &'static str {
        match self {
            Self::Left => "lpush",
            Self::Right => "rpush",
        }
    }
}

fn push_to(list: &mut List, end: End, text: &[u8]) {
    match end {
        End::Left => list.push_front(text),
        End::Right => list.push_back(text),
    }
}

fn pop_from(list: &mut List, end: End) -> Option<Vec<u8>> {
    match end {
        End::Left => list.pop_front(),
        End::Right => list.pop_back(),
    }
}

fn push(ctx: &mut Ctx<'_>, args: &[&[u8]], end: End, only_there: bool) -> Outcome {
    let key = args[1];
    if only_there && ctx.list_mut(key)?.is_none() {
        ctx.out.integer(0);
        return Ok(());
    }
    let list = ctx.list_or_new(key)?;
    for text in &args[2..] {
        push_to(list, end, text);
    }
    let length = list.len();
    ctx.changed(Class::LIST, end.push_event(), key);
    ctx.out.integer(length as i64);
    Ok(())
}

pub(crate) fn lpush(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    push(ctx, args, End::Left, false)
}

pub(crate) fn rpush(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    push(ctx, args, End::Right, false)
}

pub(crate) fn lpushx(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    push(ctx, args, End::Left, true)
}

pub(crate) fn rpushx(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    push(ctx, args, End::Right, true)
}

/// Tells of elements that were popped, and deletes a list that has become empty.
fn popped(ctx: &mut Ctx<'_>, key: &[u8], end: End) {
    ctx.changed(Class::LIST, end.pop_event(), key);
    ctx.delete_if_empty(key);
}

fn pop(ctx: &mut Ctx<'_>, args: &[&[u8]], end: End, command: &str) -> Outcome {
    let key = args[1];
    let count = match args {
        [_, _] => None,
        [_, _, count] => {
            Some(usize::try_from(integer(count).map_err(|_| NOT_POSITIVE)?).map_err(|_| NOT_POSITIVE)?)
        }
        _ => return Err(wrong_arity(command)),
    };
    let Some(list) = ctx.list_mut(key)? else {
        if count.is_some() {
            ctx.out.null_array();
        } else {
            ctx.out.null();
        }
        return Ok(());
    };
    match count {
        None => {
            if let Some(text) = pop_from(list, end) {
                ctx.out.bulk(&text);
            }
        }
        Some(0) => {
            ctx.out.array(0);
            return Ok(());
        }
        Some(count) => {
            let count = count.min(list.len());
            let texts: Vec<Vec<u8>> = (0..count).filter_map(|_| pop_from(list, end)).collect();
            ctx.out.array(texts.len());
            texts.iter().for_each(|text| ctx.out.bulk(text));
        }
    }
    popped(ctx, key, end);
    Ok(())
}

pub(crate) fn lpop(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    pop(ctx, args, End::Left, "lpop")
}

pub(crate) fn rpop(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    pop(ctx, args, End::Right, "rpop")
}

pub(crate) fn llen(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let length = ctx.list(args[1])?.map_or(0, List::len);
    ctx.out.integer(length as i64);
    Ok(())
}

pub(crate) fn lrange(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (start, end) = (integer(args[2])?, integer(args[3])?);
    let Some(list) = ctx.engine.list(ctx.db, args[1])? else {
        ctx.out.array(0);
        return Ok(());
    };
    let range = index_range(start, end, list.len());
    ctx.out.array(range.len());
    for text in list.iter_from(range.start).take(range.len()) {
        ctx.out.bulk(text);
    }
    Ok(())
}

/// A place in a list from either end; `None` outside of it.
fn place(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index + length as i64 } else { index };
    usize::try_from(index).ok().filter(|index| *index < length)
}

pub(crate) fn lindex(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let list = ctx.engine.list(ctx.db, args[1])?;
    let Some(list) = list else {
        ctx.out.null();
        return Ok(());
    };
    let index = integer(args[2])?;
    match place(index, list.len()).and_then(|index| list.get(index)) {
        Some(text) => ctx.out.bulk(text),
        None => ctx.out.null(),
    }
    Ok(())
}

pub(crate) fn lset(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let list = ctx.list_mut(args[1])?.ok_or(NO_KEY)?;
    let index = place(integer(args[2])?, list.len()).ok_or(OUT_OF_RANGE)?;
    list.set(index, args[3]);
    ctx.changed(Class::LIST, "lset", args[1]);
    ctx.out.ok();
    Ok(())
}

pub(crate) fn linsert(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let after = match () {
        () if is(args[2], "BEFORE") => 0,
        () if is(args[2], "AFTER") => 1,
        () => return Err(SYNTAX),
    };
    let Some(list) = ctx.list_mut(args[1])? else {
        ctx.out.integer(0);
        return Ok(());
    };
    let Some(index) = list.iter().position(|text| text == args[3]) else {
        ctx.out.integer(-1);
        return Ok(());
    };
    list.insert(index + after, args[4]);
    let length = list.len();
    ctx.changed(Class::LIST, "linsert", args[1]);
    ctx.out.integer(length as i64);
    Ok(())
}

pub(crate) fn lrem(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (key, count, wanted) = (args[1], integer(args[2])?, args[3]);
    let Some(list) = ctx.list_mut(key)? else {
        ctx.out.integer(0);
        return Ok(());
    };
    let most = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let length = list.len();
    let mut places: Vec<usize> = if count < 0 {
        let back = list.iter_back().enumerate().filter(|(_, text)| *text == wanted);
        back.map(|(index, _)| length - 1 - index).take(most).collect()
    } else {
        list.iter()
            .enumerate()
            .filter(|(_, text)| *text == wanted)
            .map(|(index, _)| index)
            .take(most)
            .collect()
    };
    places.sort_unstable_by(|a, b| b.cmp(a));
    for index in &places {
        list.remove(*index, 1);
    }
    if !places.is_empty() {
        ctx.changed(Class::LIST, "lrem", key);
        ctx.delete_if_empty(key);
    }
    ctx.out.integer(places.len() as i64);
    Ok(())
}

pub(crate) fn ltrim(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (key, start, end) = (args[1], integer(args[2])?, integer(args[3])?);
    if let Some(list) = ctx.list_mut(key)? {
        let range = index_range(start, end, list.len());
        let length = list.len();
        if range.is_empty() {
            list.remove(0, length);
        } else {
            if range.end < length {
                list.remove(range.end, length - range.end);
            }
            if range.start > 0 {
                list.remove(0, range.start);
            }
        }
        ctx.changed(Class::LIST, "ltrim", key);
        ctx.delete_if_empty(key);
    }
    ctx.out.ok();
    Ok(())
}

pub(crate) fn lpos(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (mut rank, mut count, mut most) = (1i64, None, 0i64);
    for option in args[3..].chunks(2) {
        let [name, value] = option else { return Err(SYNTAX) };
        match () {
            () if is(name, "RANK") => {
                rank = integer(value)?;
                if rank == 0 {
                    return Err("ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list".into());
                }
                if rank == i64::MIN {
                    return Err("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807".into());
                }
            }
            () if is(name, "COUNT") => {
                count = Some(integer(value)?);
                if count < Some(0) {
                    return Err("ERR COUNT can't be negative".into());
                }
            }
            () if is(name, "MAXLEN") => {
                most = integer(value)?;
                if most < 0 {
                    return Err("ERR MAXLEN can't be negative".into());
                }
            }
            () => return Err(SYNTAX),
        }
    }
    let wanted = args[2];
    let mut found = Vec::new();
    if let Some(list) = ctx.list(args[1])? {
        let length = list.len();
        let looked = if most == 0 { length } else { (most as usize).min(length) };
        let enough = match count {
            None => 1,
            Some(0) => usize::MAX,
            Some(count) => count as usize,
        };
        let skip = rank.unsigned_abs() as usize - 1;
        found = if rank > 0 {
            let hits = list.iter().take(looked).enumerate().filter(|(_, text)| *text == wanted);
            hits.map(|(index, _)| index).skip(skip).take(enough).collect()
        } else {
            let hits = list.iter_back().take(looked).enumerate().filter(|(_, text)| *text == wanted);
            hits.map(|(index, _)| length - 1 - index).skip(skip).take(enough).collect::<Vec<_>>()
        };
    }
    match (count, found.first()) {
        (Some(_), _) => {
            ctx.out.array(found.len());
            found.iter().for_each(|index| ctx.out.integer(*index as i64));
        }
        (None, Some(index)) => ctx.out.integer(*index as i64),
        (None, None) => ctx.out.null(),
    }
    Ok(())
}

/// Moves one element; `None` when there is none.
fn move_element(ctx: &mut Ctx<'_>, from: &[u8], to: &[u8], ends: (End, End)) -> Outcome<Option<Vec<u8>>> {
    if ctx.list(from)?.is_none() {
        return Ok(None);
    }
    ctx.list(to)?;
    let Some(text) = ctx.list_mut(from)?.and_then(|list| pop_from(list, ends.0)) else { return Ok(None) };
    push_to(ctx.list_or_new(to)?, ends.1, &text);
    ctx.changed(Class::LIST, ends.1.push_event(), to);
    ctx.changed(Class::LIST, ends.0.pop_event(), from);
    ctx.delete_if_empty(from);
    ctx.log_instead(&[b"LMOVE", from, to, ends.0.word(), ends.1.word()]);
    Ok(Some(text))
}

fn reply_moved(ctx: &mut Ctx<'_>, args: &[&[u8]], ends: (End, End)) -> Outcome {
    match move_element(ctx, args[1], args[2], ends)? {
        Some(text) => ctx.out.bulk(&text),
        None => ctx.out.null(),
    }
    Ok(())
}

pub(crate) fn lmove(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    reply_moved(ctx, args, (End::parse(args[3])?, End::parse(args[4])?))
}

pub(crate) fn rpoplpush(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    reply_moved(ctx, args, (End::Right, End::Left))
}

fn blocking_move(ctx: &mut Ctx<'_>, args: &[&[u8]], ends: (End, End), wait: &[u8]) -> Outcome {
    let wait = timeout(wait, ctx.now())?;
    match move_element(ctx, args[1], args[2], ends)? {
        Some(text) => ctx.out.bulk(&text),
        None => {
            if !ctx.block(Waiting::List, &args[1..2], wait, args) {
                ctx.out.null();
            }
        }
    }
    Ok(())
}

pub(crate) fn blmove(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    blocking_move(ctx, args, (End::parse(args[3])?, End::parse(args[4])?), args[5])
}

pub(crate) fn brpoplpush(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    blocking_move(ctx, args, (End::Right, End::Left), args[3])
}

fn blocking_pop(ctx: &mut Ctx<'_>, args: &[&[u8]], end: End) -> Outcome {
    let keys = &args[1..args.len() - 1];
    let wait = timeout(args[args.len() - 1], ctx.now())?;
    for &key in keys {
        let Some(list) = ctx.list_mut(key)? else { continue };
        let Some(text) = pop_from(list, end) else { continue };
        ctx.out.array(2);
        ctx.out.bulk(key);
        ctx.out.bulk(&text);
        popped(ctx, key, end);
        ctx.log_instead(&[if end == End::Left { b"LPOP" } else { b"RPOP" }, key]);
        return Ok(());
    }
    if !ctx.block(Waiting::List, keys, wait, args) {
        ctx.out.null_array();
    }
    Ok(())
}

pub(crate) fn blpop(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    blocking_pop(ctx, args, End::Left)
}

pub(crate) fn brpop(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    blocking_pop(ctx, args, End::Right)
}

/// `numkeys key… LEFT|RIGHT [COUNT n]`, from `at` on.
fn several<'a, 'b>(args: &'b [&'a [u8]], at: usize) -> Outcome<(&'b [&'a [u8]], End, usize)> {
    let number = integer(args[at]).ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| Failure::from("ERR numkeys should be greater than 0"))? as usize;
    let where_at = at.checked_add(number).and_then(|at| at.checked_add(1)).ok_or(SYNTAX)?;
    let end = End::parse(args.get(where_at).ok_or(SYNTAX)?)?;
    let count = match &args[where_at + 1..] {
        [] => 1,
        [word, count] if is(word, "COUNT") => {
            let count = integer(count).ok().filter(|count| *count > 0);
            count.ok_or_else(|| Failure::from("ERR count should be greater than 0"))? as usize
        }
        _ => return Err(SYNTAX),
    };
    Ok((&args[at + 1..where_at], end, count))
}

/// Pops from the first list that has something; false when none has.
fn pop_several(ctx: &mut Ctx<'_>, keys: &[&[u8]], end: End, count: usize) -> Outcome<bool> {
    for &key in keys {
        let Some(list) = ctx.list_mut(key)? else { continue };
        let count = count.min(list.len());
        let texts: Vec<Vec<u8>> = (0..count).filter_map(|_| pop_from(list, end)).collect();
        ctx.out.array(2);
        ctx.out.bulk(key);
        ctx.out.array(texts.len());
        texts.iter().for_each(|text| ctx.out.bulk(text));
        popped(ctx, key, end);
        let name: &[u8] = if end == End::Left { b"LPOP" } else { b"RPOP" };
        ctx.log_instead(&[name, key, count.to_string().as_bytes()]);
        return Ok(true);
    }
    Ok(false)
}

pub(crate) fn lmpop(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let (keys, end, count) = several(args, 1)?;
    if !pop_several(ctx, keys, end, count)? {
        ctx.out.null_array();
    }
    Ok(())
}

pub(crate) fn blmpop(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let wait = timeout(args[1], ctx.now())?;
    let (keys, end, count) = several(args, 2)?;
    if !pop_several(ctx, keys, end, count)? && !ctx.block(Waiting::List, keys, wait, args) {
        ctx.out.null_array();
    }
    Ok(())
}
