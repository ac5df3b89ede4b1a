//! Settings as they are applied: at the start, by CONFIG SET, and when the configuration has changed meanwhile.
//!
//! Three have a say, the later over the earlier: what the engine was made with (`given`), what CONFIG REWRITE has kept
//! of what CONFIG SET changed, and CONFIG SET itself. When the configuration changes while the engine runs
//! ([`Engine::reconfigure`]), what has changed in it holds at once, over what CONFIG SET has said of the same setting;
//! everything else stays.

use crate::config::{self, Change, Config, SETTINGS};
use crate::database::Database;
use crate::effects::DiskRequest;
use crate::engine::Engine;
use crate::session::{ClientId, Session};

/// One setting as a list has it: its value for all databases, and those of single ones.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    common: String,
    own: Vec<(usize, String)>,
}

/// What a list of settings says of one; the default where it says nothing.
fn wanted(list: &[(String, String)], index: usize) -> Result<Wanted, String> {
    let row = &SETTINGS[index];
    let mut wanted = Wanted { common: row.default.to_owned(), own: Vec::new() };
    for (name, text) in list {
        let check = |text: &str| Config::check(index, text).map_err(|why| format!("setting '{name}': {why}"));
        match config::find_own(name) {
            Some((db, found)) if found == index => wanted.own.push((db, check(text)?)),
            None if config::find(name) == Some(index) => wanted.common = check(text)?,
            _ => {}
        }
    }
    wanted.own.sort();
    Ok(wanted)
}

impl Engine {
    /// Takes another list of settings in the place of the one that the engine was made with. What differs holds at
    /// once; lines for the operator say what was changed, and what needs a start. An error changes nothing.
    pub fn reconfigure(&mut self, list: &[(String, String)]) -> Result<Vec<String>, String> {
        for (name, _) in list {
            if config::find_own(name).is_none() && config::find(name).is_none() {
                return Err(format!("unknown setting '{name}'"));
            }
        }
        let mut changes = Vec::new();
        for index in 0..SETTINGS.len() {
            let (before, now) = (wanted(&self.given, index)?, wanted(list, index)?);
            if before != now {
                changes.push((index, now));
            }
        }
        let mut lines = Vec::new();
        for (index, now) in changes {
            let name = SETTINGS[index].name;
            if SETTINGS[index].change == Change::AtStart {
                lines.push(format!("{name} has changed, and holds from the next start of the store on"));
                continue;
            }
            let before = self.config.value(index).to_owned();
            self.config.set_from_file(index, now.common, now.own);
            self.setting_has_changed(index, &before);
            let own = self.config.own().filter(|(own, _)| own.ends_with(&format!(".{name}")));
            let shown: Vec<String> = own.map(|(own, text)| format!(", {own} {text}")).collect();
            if name == "requirepass" {
                lines.push("requirepass is set anew".into());
            } else {
                lines.push(format!("{name} is now {}{}", self.config.value(index), shown.concat()));
            }
        }
        self.given = list.to_vec();
        self.make_room_everywhere();
        Ok(lines)
    }

    /// Does what follows from a setting that was `before`.
    pub(crate) fn setting_has_changed(&mut self, index: usize, before: &str) {
        let text = self.config.value(index).to_owned();
        match SETTINGS[index].name {
            "requirepass" => self.users.set_default_password(text.as_bytes()),
            "appendonly" if before != text => self.effects.disk.push(DiskRequest::Journal(text == "yes")),
            "slowlog-max-len" => {
                let limit = self.config.slowlog_length;
                self.slowlog.entries.truncate(limit);
            }
            "protected-keys" if before != text => self.databases.iter_mut().for_each(Database::forget_names),
            // What must not go under one policy may go under another.
            "maxmemory-policy" => self.databases.iter_mut().for_each(Database::sweep_again),
            _ => {}
        }
    }

    /// Frees memory until every database is within its limits, as far as that is possible.
    pub(crate) fn make_room_everywhere(&mut self) {
        for db in 0..self.databases.len() {
            drop(self.make_room(db));
        }
    }

    /// Sets what CONFIG REWRITE has kept, over the configuration; an error names the line.
    pub(crate) fn apply_kept_settings(&mut self, text: &[u8]) -> Result<usize, String> {
        let mut count = 0;
        for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let mut parser = regie_resp::RequestParser::default();
            let fault = |why: String| format!("line {}: {why}", number + 1);
            match parser.parse(line, &regie_resp::Limits::DEFAULT) {
                Ok(regie_resp::Parsed::Command { .. }) => {}
                _ => return Err(fault("no name and value".into())),
            }
            let words: Vec<String> =
                parser.arguments(line).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
            match &words[..] {
                [] => continue,
                [comment, ..] if comment.starts_with('#') => continue,
                [name, value] => self.config.set_by_name(name, value).map_err(fault)?,
                _ => return Err(fault("no name and value".into())),
            }
            count += 1;
        }
        let password = self.config.get("requirepass").as_bytes().to_vec();
        self.users.set_default_password(&password);
        Ok(count)
    }

    /// What CONFIG REWRITE keeps.
    pub(crate) fn kept_settings(&self) -> Vec<u8> {
        let head =
            b"# What CONFIG SET has changed, kept by CONFIG REWRITE. It holds over the configuration;\n\
                     # to go back to that, delete this file while the store is stopped.\n";
        [&head[..], &self.config.changed_lines()].concat()
    }

    /// No more clients than the system has room for.
    pub(crate) fn lower_clients(&mut self, most: u64) {
        self.config.lower("maxclients", most);
    }

    /// Bytes that all clients' buffers may hold together; 0: any.
    pub(crate) fn clients_limit(&self) -> usize {
        let text = self.config.get("maxmemory-clients");
        match text.strip_suffix('%') {
            Some(percent) => {
                (self.config.maxmemory / 100).saturating_mul(percent.parse().unwrap_or(0)) as usize
            }
            None => text.parse().unwrap_or(0),
        }
    }

    /// Whether a client may be closed because buffers hold too much: one that feeds this server or is fed by it may not,
    /// nor one that has said CLIENT NO-EVICT.
    pub(crate) fn may_close_for_memory(&self, client: ClientId) -> bool {
        let kept = |session: &Session| session.no_evict || session.is_replica() || session.is_trusted;
        !self.is_leader(client) && !self.sessions.get(&client).is_some_and(kept)
    }

    /// A client was closed because buffers held too much.
    pub(crate) fn count_evicted_client(&mut self) {
        self.stats.evicted_clients += 1;
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::{Engine, Settings};
    use crate::session::Peer;

    fn list(rows: &[(&str, &str)]) -> Vec<(String, String)> {
        rows.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn engine(rows: &[(&str, &str)]) -> Engine {
        let settings = Settings {
            seed: 1,
            secret: [0; 32],
            now_us: 1_700_000_000_000_000,
            config: list(rows),
            stopwatch: || 0,
        };
        Engine::new(settings).unwrap()
    }

    fn set(engine: &mut Engine, words: &[&str]) {
        let client = engine.connect(Peer::default());
        let words: Vec<&[u8]> = ["CONFIG", "SET"].iter().chain(words).map(|word| word.as_bytes()).collect();
        let mut out = regie_resp::Encoder::default();
        let _ = engine.execute(client, &words, &mut out);
        assert_eq!(out.bytes, b"+OK\r\n");
    }

    #[test]
    fn what_has_changed_in_the_configuration_holds_at_once_and_the_rest_stays() {
        let before = [
            ("maxmemory", "100mb"),
            ("maxmemory-policy", "noeviction"),
            ("db.1.maxmemory-policy", "allkeys-lru"),
            ("db.1.maxmemory", "50mb"),
            ("appendfsync", "everysec"),
            ("tcp-backlog", "511"),
        ];
        let mut engine = engine(&before);
        // By hand: one that the configuration changes, and two that it does not.
        set(
            &mut engine,
            &["maxmemory", "90mb", "slowlog-max-len", "5", "db.1.maxmemory-policy", "allkeys-lfu"],
        );
        let after = [
            ("maxmemory", "200mb"),
            ("maxmemory-policy", "noeviction"),
            ("db.1.maxmemory-policy", "allkeys-lru"),
            ("appendfsync", "always"),
            ("db.2.appendfsync", "no"),
            ("tcp-backlog", "4096"),
            ("requirepass", "hunter2"),
        ];
        let mut lines = engine.reconfigure(&list(&after)).unwrap();
        lines.sort();
        assert_eq!(
            lines,
            [
                "appendfsync is now always, db.2.appendfsync no",
                "maxmemory is now 209715200",
                "requirepass is set anew",
                "tcp-backlog has changed, and holds from the next start of the store on",
            ]
        );
        for (name, value) in [
            ("maxmemory", "209715200"),
            ("appendfsync", "always"),
            ("slowlog-max-len", "5"),
            ("tcp-backlog", "511"),
        ] {
            assert_eq!(engine.setting(name), value, "{name}");
        }
        let own: Vec<(String, &str)> = engine.config.own().collect();
        assert_eq!(
            own,
            [("db.1.maxmemory-policy".to_owned(), "allkeys-lfu"), ("db.2.appendfsync".to_owned(), "no"),]
        );
        assert!(!engine.users.default_needs_no_password());
        // CONFIG REWRITE keeps what was set by hand and not what the configuration says.
        let kept = String::from_utf8(engine.kept_settings()).unwrap();
        assert!(kept.contains("slowlog-max-len") && !kept.contains("\nmaxmemory "), "{kept}");
        assert_eq!(engine.reconfigure(&list(&after)), Ok(Vec::new()), "nothing has changed");
    }

    #[test]
    fn a_wrong_list_changes_nothing() {
        let mut engine = engine(&[("maxmemory", "1mb")]);
        for (rows, why) in [
            (
                [("maxmemory", "2mb"), ("appendfsync", "often")],
                "setting 'appendfsync': argument(s) must be one of",
            ),
            ([("maxmemory", "2mb"), ("max-memory", "1")], "unknown setting 'max-memory'"),
        ] {
            let refused = engine.reconfigure(&list(&rows)).unwrap_err();
            assert!(refused.starts_with(why), "{refused}");
            assert_eq!(engine.setting("maxmemory"), "1048576");
        }
    }
}
