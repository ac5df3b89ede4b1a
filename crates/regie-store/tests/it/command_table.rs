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
