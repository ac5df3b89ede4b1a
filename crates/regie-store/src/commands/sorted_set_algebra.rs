//! Unions, intersections and differences of sorted sets.

use crate::commands::sets::keys_and_limit;
use crate::commands::sorted_sets::{store, write_members};
use crate::context::{Ctx, integer, is};
use crate::failure::{Outcome, SYNTAX, WRONG_TYPE};
use crate::number::parse_double;
use crate::structures::sorted_set::SortedSet;
use crate::value::Value;
use std::collections::HashMap;

/// The three ways to combine sorted sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Combine {
    Union,
    Intersection,
    Difference,
}

#[derive(Debug, Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn join(self, a: f64, b: f64) -> f64 {
        match self {
            // Two infinities of different sign cancel out.
            Self::Sum => {
                let sum = a + b;
                if sum.is_nan() { 0.0 } else { sum }
            }
            Self::Min => a.min(b),
            Self::Max => a.max(b),
        }
    }
}

/// The members of a set or sorted set.
fn members_of(ctx: &mut Ctx<'_>, key: &[u8]) -> Outcome<Vec<(Vec<u8>, f64)>> {
    match ctx.read(key) {
        None => Ok(Vec::new()),
        Some(Value::Set(set)) => Ok(set.iter().map(|member| (member.into_owned(), 1.0)).collect()),
        Some(Value::SortedSet(set)) => Ok(set.iter().map(|m| (m.name.to_vec(), m.score)).collect()),
        Some(_) => Err(WRONG_TYPE),
    }
}

fn combine(ctx: &mut Ctx<'_>, args: &[&[u8]], how: Combine, target: Option<&[u8]>, command: &str) -> Outcome {
    let at = if target.is_some() { 2 } else { 1 };
    let number = integer(args[at])?;
    if number < 1 {
        return Err(format!("ERR at least 1 input key is needed for '{command}' command").into());
    }
    let number = number as usize;
    if number > args.len() - at - 1 {
        return Err(SYNTAX);
    }
    let keys = &args[at + 1..at + 1 + number];
    let (mut weights, mut aggregate, mut scores) = (vec![1.0; number], Aggregate::Sum, false);
    let mut index = at + 1 + number;
    while index < args.len() {
        match () {
            () if how != Combine::Difference && is(args[index], "WEIGHTS") && args.len() - index > number => {
                for (weight, text) in weights.iter_mut().zip(&args[index + 1..]) {
                    *weight = parse_double(text).ok_or("ERR weight value is not a float")?;
                }
                index += number;
            }
            () if how != Combine::Difference && is(args[index], "AGGREGATE") && index + 1 < args.len() => {
                index += 1;
                aggregate = match () {
                    () if is(args[index], "SUM") => Aggregate::Sum,
                    () if is(args[index], "MIN") => Aggregate::Min,
                    () if is(args[index], "MAX") => Aggregate::Max,
                    () => return Err(SYNTAX),
                };
            }
            () if target.is_none() && is(args[index], "WITHSCORES") => scores = true,
            () => return Err(SYNTAX),
        }
        index += 1;
    }
    let mut inputs = Vec::with_capacity(number);
    for key in keys {
        inputs.push(members_of(ctx, key)?);
    }
    let members = combined(inputs, &weights, aggregate, how);
    let event = match how {
        Combine::Union => "zunionstore",
        Combine::Intersection => "zinterstore",
        Combine::Difference => "zdiffstore",
    };
    if let Some(target) = target {
        store(ctx, target, members, event);
        return Ok(());
    }
    let bounds = ctx.engine.config.sorted_set;
    let mut set = SortedSet::new();
    for (name, score) in members {
        set.set(&name, score, bounds, 1);
    }
    write_members(ctx.out, set.iter(), set.len(), scores);
    Ok(())
}

fn combined(
    inputs: Vec<Vec<(Vec<u8>, f64)>>,
    weights: &[f64],
    aggregate: Aggregate,
    how: Combine,
) -> Vec<(Vec<u8>, f64)> {
    let number = inputs.len();
    // Each member with its score and in how many inputs it was.
    let mut seen: HashMap<Vec<u8>, (f64, usize)> = HashMap::new();
    for (index, input) in inputs.into_iter().enumerate() {
        if how == Combine::Difference && index > 0 {
            for (name, _) in input {
                seen.remove(&name);
            }
            continue;
        }
        let weight = if how == Combine::Difference { 1.0 } else { weights[index] };
        for (name, score) in input {
            let score = if (score * weight).is_nan() { 0.0 } else { score * weight };
            if how == Combine::Intersection && index > 0 && !seen.contains_key(&name) {
                continue;
            }
            seen.entry(name)
                .and_modify(|(old, count)| {
                    *old = aggregate.join(*old, score);
                    *count += 1;
                })
                .or_insert((score, 1));
        }
    }
    let wanted = if how == Combine::Intersection { number } else { 1 };
    seen.into_iter()
        .filter(|(_, (_, count))| *count >= wanted)
        .map(|(name, (score, _))| (name, score))
        .collect()
}

pub(crate) fn zunion(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    combine(ctx, args, Combine::Union, None, "zunion")
}

pub(crate) fn zinter(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    combine(ctx, args, Combine::Intersection, None, "zinter")
}

pub(crate) fn zdiff(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    combine(ctx, args, Combine::Difference, None, "zdiff")
}

pub(crate) fn zunionstore(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    combine(ctx, args, Combine::Union, Some(args[1]), "zunionstore")
}

pub(crate) fn zinterstore(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    combine(ctx, args, Combine::Intersection, Some(args[1]), "zinterstore")
}

pub(crate) fn zdiffstore(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    combine(ctx, args, Combine::Difference, Some(args[1]), "zdiffstore")
}

pub(crate) fn zintercard(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if integer(args[1])? < 1 {
        return Err("ERR at least 1 input key is needed for 'zintercard' command".into());
    }
    let (keys, limit) = keys_and_limit(args)?;
    let mut inputs = Vec::new();
    for key in keys {
        inputs.push(members_of(ctx, key)?);
    }
    let weights = vec![1.0; inputs.len()];
    let count = combined(inputs, &weights, Aggregate::Sum, Combine::Intersection).len();
    ctx.out.integer(if limit == 0 { count } else { count.min(limit) } as i64);
    Ok(())
}
