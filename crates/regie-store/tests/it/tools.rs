//! Looking at, repairing and backing up a folder; what a power cut or a bad disk can do to it.

use crate::server::{Client, Store};
use regie_store::tools::{self, FileState, ServerAddress, ToolError};
use std::fs;
use std::path::Path;

const ALWAYS: &[(&str, &str)] = &[("appendonly", "yes"), ("appendfsync", "always")];

fn address(store: &Store) -> ServerAddress {
    ServerAddress::parse(&store.address.to_string()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

fn rewritten(client: &mut Client) {
    assert!(client.line("BGREWRITEAOF").starts_with("Background"));
    while client.line("INFO persistence").contains("aof_rewrite_in_progress:1") {}
}

/// A folder with a snapshot (`s0` … `s29`), a log that is closed (`c0` … `c9`) and the last one (`l0` … `l9`).
fn three_parts(dir: &Path) {
    let fill = |client: &mut Client, prefix: &str, count: usize| {
        for n in 0..count {
            assert_eq!(client.line(&format!("SET {prefix}{n} {}", "v".repeat(40))), "OK");
        }
    };
    let store = Store::start(Some(dir), ALWAYS);
    fill(&mut store.client(), "s", 30);
    rewritten(&mut store.client());
    fill(&mut store.client(), "c", 10);
    drop(store);
    let store = Store::start(Some(dir), ALWAYS);
    fill(&mut store.client(), "l", 10);
}

fn check(dir: &Path) -> Result<tools::Checked, ToolError> {
    tools::check(dir, &mut |_| {})
}

fn keys(dir: &Path) -> usize {
    let store = Store::start(Some(dir), &[]);
    store.client().line("DBSIZE")[1..].parse().unwrap()
}

#[test]
fn a_sound_folder_is_called_whole() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(check(dir.path()), Err(ToolError::Nothing { .. })));
    three_parts(dir.path());
    let mut heard = std::collections::BTreeSet::new();
    let found = tools::check(dir.path(), &mut |progress| {
        if progress.done == progress.total {
            heard.insert(progress.what.to_owned());
        }
    })
    .unwrap();
    assert!(found.is_whole() && found.can_start(), "{found:?}");
    let entries: Vec<u64> = found.files.iter().map(|file| file.entries).collect();
    // A log names its database first.
    assert_eq!((entries, heard.len()), (vec![30, 11, 11], 3));
    let repaired = tools::repair(dir.path(), &mut |_| {}).unwrap();
    assert_eq!(repaired, tools::Repaired::default());
    assert_eq!(keys(dir.path()), 50);
}

/// In each file, at the beginning, in the middle and at the end: a byte that is not what was written, and a cut.
#[test]
fn every_fault_is_seen_before_anything_is_lost_and_can_be_repaired() {
    let whole = tempfile::tempdir().unwrap();
    three_parts(whole.path());
    let files = check(whole.path()).unwrap().files;
    let mut cases = 0;
    for (index, file) in files.iter().enumerate() {
        let is_last = index == 2;
        let length = file.bytes as usize;
        for at in [0, 3, 7, 8, 9, 13, 20, length / 3, length / 2, length - 60, length - 2] {
            for flip in [true, false] {
                let dir = tempfile::tempdir().unwrap();
                copy(whole.path(), dir.path());
                let path = dir.path().join(&file.name);
                let mut bytes = fs::read(&path).unwrap();
                if flip {
                    bytes[at] ^= 0x10;
                } else {
                    bytes.truncate(at);
                }
                fs::write(&path, &bytes).unwrap();
                let what = format!("{} {} at {at} of {length}", file.name, if flip { "flip" } else { "cut" });
                one_fault(dir.path(), &path, &bytes, is_last, flip, &what);
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 66);
}

fn one_fault(dir: &Path, path: &Path, bytes: &[u8], is_last: bool, flip: bool, what: &str) {
    let found = check(dir).unwrap();
    if found.files.iter().any(|file| matches!(file.state, FileState::Newer { .. })) {
        let refused = tools::repair(dir, &mut |_| {}).unwrap_err();
        assert!(refused.to_string().contains("newer"), "{what}: {refused}");
        return;
    }
    let started = Store::try_start(Some(dir), &[]);
    assert_eq!(started.is_ok(), found.can_start(), "{what}: {found:?}");
    if let Ok(store) = started {
        // Only the tail of the last log may be missing without a word from the operator.
        assert!(is_last, "{what} started");
        assert_eq!(store.client().line("EXISTS s0 s29 c0 c9"), ":4", "{what}");
        return;
    }
    assert!(!is_last || flip, "{what}: a torn tail is no fault");
    assert_eq!(fs::read(path).unwrap(), bytes, "{what}: nothing was changed");
    let repaired = tools::repair(dir, &mut |_| {}).unwrap();
    let kept = repaired.copy.clone().expect("a copy is kept");
    assert_eq!(fs::read(kept.join(path.file_name().unwrap())).unwrap(), bytes, "{what}");
    assert!(!repaired.steps.is_empty(), "{what}");
    assert!(check(dir).unwrap().is_whole(), "{what}: {repaired:?}");
    let left = keys(dir);
    assert!(left < 50 || repaired.lost_bytes == 0, "{what}: {left} {repaired:?}");
    if path.extension().is_some_and(|kind| kind == "log") {
        assert!(left >= 30, "{what}: {left} {repaired:?}");
    }
}

#[test]
fn a_damaged_manifest_is_rebuilt() {
    let whole = tempfile::tempdir().unwrap();
    three_parts(whole.path());
    let text = fs::read_to_string(whole.path().join("manifest")).unwrap();
    for broken in
        [None, Some(String::new()), Some(text[..text.len() / 2].to_owned()), Some(text.replace("log", "lag"))]
    {
        let dir = tempfile::tempdir().unwrap();
        copy(whole.path(), dir.path());
        match &broken {
            None => fs::remove_file(dir.path().join("manifest")).unwrap(),
            Some(text) => fs::write(dir.path().join("manifest"), text).unwrap(),
        }
        let why = Store::try_start(Some(dir.path()), ALWAYS).err().expect("the start is refused");
        assert!(why.contains("manifest") && why.contains("repair"), "{why}");
        let repaired = tools::repair(dir.path(), &mut |_| {}).unwrap();
        assert!(repaired.steps[0].starts_with("manifest"), "{repaired:?}");
        assert_eq!(keys(dir.path()), 50, "{broken:?}");
    }
}

#[test]
fn a_missing_file_stops_the_start() {
    let whole = tempfile::tempdir().unwrap();
    three_parts(whole.path());
    for (index, left) in [(0, 20), (1, 30), (2, 40)] {
        let dir = tempfile::tempdir().unwrap();
        copy(whole.path(), dir.path());
        let name = check(whole.path()).unwrap().files[index].name.clone();
        fs::remove_file(dir.path().join(&name)).unwrap();
        assert!(Store::try_start(Some(dir.path()), &[]).is_err(), "{name}");
        assert_eq!(check(dir.path()).unwrap().files[index].state, FileState::Missing);
        tools::repair(dir.path(), &mut |_| {}).unwrap();
        assert_eq!(keys(dir.path()), left, "{name}");
    }
}

/// What the first format wrote must open for ever.
#[test]
fn the_first_format_is_read() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1");
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture, dir.path());
    assert!(check(dir.path()).unwrap().is_whole());
    for _ in 0..2 {
        let store = Store::start(Some(dir.path()), ALWAYS);
        let mut client = store.client();
        for (line, expect) in [
            ("DBSIZE", ":11"),
            ("MGET text number late after import", "[hello 42 value rewrite token]"),
            ("PEXPIRETIME late", ":4102444800000"),
            ("LRANGE list 0 -1", "[a b 3]"),
            ("SORT ints", "[1 2 3]"),
            ("SORT set ALPHA", "[a b]"),
            ("HGETALL hash", "[f 1 g 2]"),
            ("ZRANGE zset 0 -1 WITHSCORES", "[a 1.5 b inf]"),
            ("XRANGE stream - +", "[[1-1 [f v g w]] [2-0 [other x]]]"),
            ("XPENDING stream readers", "[:1 1-1 1-1 [[alice 1]]]"),
            ("SELECT 3", "OK"),
            ("LRANGE queue 0 -1", "[job-1 job-2]"),
        ] {
            assert_eq!(client.line(line), expect, "{line}");
        }
    }
}

#[test]
fn newer_data_are_refused_by_name_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = dir.path().join("manifest");
    fs::write(&manifest, "regie-store 9\nby 7.1.0\nelephant 3\n").unwrap();
    let why = Store::try_start(Some(dir.path()), ALWAYS).err().unwrap();
    assert!(why.contains("newer Régie (7.1.0, format 9)"), "{why}");
    assert!(tools::repair(dir.path(), &mut |_| {}).is_err());
    assert!(check(dir.path()).is_err());
    assert_eq!(fs::read_to_string(&manifest).unwrap(), "regie-store 9\nby 7.1.0\nelephant 3\n");
}

#[test]
fn a_folder_has_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::start(Some(dir.path()), ALWAYS);
    let why = Store::try_start(Some(dir.path()), ALWAYS).err().unwrap();
    assert!(why.contains("another store is running"), "{why}");
    assert!(tools::repair(dir.path(), &mut |_| {}).is_err());
    drop(store);
    assert!(Store::try_start(Some(dir.path()), ALWAYS).is_ok());
}

#[test]
fn a_backup_under_load_shows_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::start(Some(dir.path()), &[("appendonly", "yes")]);
    let mut client = store.client();
    for n in 0..20_000 {
        client.send(&[b"SET", format!("k{n}").as_bytes(), b"before"]);
    }
    (0..20_000).for_each(|_| drop(client.receive()));
    // Two keys that are only ever changed together.
    let stop = std::sync::atomic::AtomicBool::new(false);
    let to = dir.path().join("copy");
    let made = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = store.client();
            let mut n = 0;
            while !stop.load(std::sync::atomic::Ordering::Acquire) {
                n += 1;
                client.line(&format!("MSET k0 {n} k19999 {n} k{} {n}", n % 20_000));
            }
        });
        let made = tools::backup(dir.path(), Some(&address(&store)), &to, &mut |_| {});
        stop.store(true, std::sync::atomic::Ordering::Release);
        made.unwrap()
    });
    assert_eq!(made.keys, 20_000);
    assert!(matches!(
        tools::backup(dir.path(), Some(&address(&store)), &to, &mut |_| {}),
        Err(ToolError::Exists { .. })
    ));
    let copy = Store::start(Some(&to), &[]);
    let mut client = copy.client();
    assert_eq!(client.line("DBSIZE"), ":20000");
    assert_eq!(client.line("GET k0"), client.line("GET k19999"));
    drop((store, copy));
    // Without a running store the folder itself is copied.
    let to = dir.path().join("again");
    tools::backup(dir.path(), None, &to, &mut |_| {}).unwrap();
    assert_eq!(keys(&to), 20_000);
}

#[test]
fn a_backup_s_name_stays_in_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::start(Some(dir.path()), &[]);
    for name in ["../x", ".hidden", "a/b", ""] {
        let reply = store.client().call(&[b"BACKUP", name.as_bytes()]);
        assert!(matches!(reply, regie_resp::Frame::Error(_)), "{name}");
    }
}
