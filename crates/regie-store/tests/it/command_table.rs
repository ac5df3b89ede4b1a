//! What COMMAND tells, beside what Debian's redis-server tells: arity, flags, categories, tips and places of keys of
//! every command that both know.

use crate::differential::Peer;
use crate::server::{Client, Store, show};
use regie_resp::Frame;
use std::collections::BTreeMap;

fn items(frame: &Frame) -> &[Frame] {
    match frame {
        Frame::Array(items) | Frame::Set(items) => items,
        other => panic!("no array: {}", show(other)),
    }
}

fn sorted(frame: &Frame) -> String {
    let mut words: Vec<String> = items(frame).iter().map(show).collect();
    words.sort();
    words.join(" ")
}

/// A specification of keys without the notes that Redis has for some.
fn spec(frame: &Frame) -> String {
    let pairs = items(frame).chunks(2).filter(|pair| show(&pair[0]) != "notes");
    pairs.map(|pair| if show(&pair[0]) == "flags" { sorted(&pair[1]) } else { show(&pair[1]) }).collect()
}

fn collect(frame: &Frame, found: &mut BTreeMap<String, String>) {
    for row in items(frame) {
        let columns = items(row);
        let specs: Vec<String> = items(&columns[8]).iter().map(spec).collect();
        let text = format!(
            "arity {} flags {} keys {} {} {} categories {} tips {} specs {specs:?}",
            show(&columns[1]),
            sorted(&columns[2]),
            show(&columns[3]),
            show(&columns[4]),
            show(&columns[5]),
            sorted(&columns[6]),
            show(&columns[7]),
        );
        found.insert(show(&columns[0]), text);
        collect(&columns[9], found);
    }
}

#[test]
fn command_tells_what_redis_tells() {
    let (peer, store) = (Peer::start(), Store::start(None, &[]));
    let (mut theirs, mut ours) = (BTreeMap::new(), BTreeMap::new());
    collect(&Client::connect(peer.address).call(&[b"COMMAND"]), &mut theirs);
    collect(&store.client().call(&[b"COMMAND"]), &mut ours);
    assert!(ours.len() > 250 && theirs.len() > 300, "{} and {} commands", ours.len(), theirs.len());
    let mut differ = Vec::new();
    for (name, text) in &ours {
        if let Some(expect) = theirs.get(name).filter(|expect| *expect != text) {
            differ.push(format!("{name}\n  redis {expect}\n  store {text}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// Names, types, words, flags and nesting of arguments, without since when there is which.
fn arguments(frame: &Frame) -> String {
    let of_one = |one: &Frame| {
        let pairs = items(one)
            .chunks(2)
            .filter(|pair| !["since", "deprecated_since"].contains(&show(&pair[0]).as_str()));
        let mut fields: Vec<String> = pairs
            .map(|pair| match (show(&pair[0]).as_str(), &pair[1]) {
                ("arguments", inside) => format!("({})", arguments(inside)),
                ("flags", flags) => format!("flags {}", sorted(flags)),
                (name, value) => format!("{name} {}", show(value)),
            })
            .collect();
        fields.sort();
        fields.join(", ")
    };
    items(frame).iter().map(of_one).collect::<Vec<_>>().join("; ")
}

fn documented(frame: &Frame, found: &mut BTreeMap<String, String>) {
    for pair in items(frame).chunks(2) {
        for field in items(&pair[1]).chunks(2) {
            match show(&field[0]).as_str() {
                "arguments" => drop(found.insert(show(&pair[0]), arguments(&field[1]))),
                "subcommands" => documented(&field[1], found),
                _ => {}
            }
        }
    }
}

#[test]
fn the_documented_arguments_are_redis_s() {
    let (peer, store) = (Peer::start(), Store::start(None, &[]));
    let (mut theirs, mut ours, mut known) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    documented(&Client::connect(peer.address).call(&[b"COMMAND", b"DOCS"]), &mut theirs);
    documented(&store.client().call(&[b"COMMAND", b"DOCS"]), &mut ours);
    collect(&store.client().call(&[b"COMMAND"]), &mut known);
    assert!(ours.len() > 250, "{} commands", ours.len());
    let both = theirs.iter().filter(|(name, _)| known.contains_key(*name));
    let differ: Vec<String> = both
        .filter(|(name, text)| ours.get(*name) != Some(text))
        .map(|(name, text)| format!("{name}\n  redis {text}\n  store {:?}", ours.get(name)))
        .collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
