//! What INFO says, as a person wants to see it and as JSON.

use std::collections::BTreeMap;

use regie_core::{ByteSize, Span};
use regie_resp::Frame;
use regie_store::tools::{Connection, ServerAddress, ToolError};
use serde_json::{Map, Value, json};

use crate::output::{Paint, Table, Tone};

/// The fields of INFO by section, in lower case.
#[derive(Debug, Default)]
pub(super) struct Info {
    sections: BTreeMap<String, Vec<(String, String)>>,
}

impl Info {
    pub(super) fn ask(connection: &mut Connection) -> Result<Self, ToolError> {
        match connection.ask(&[b"INFO"])? {
            Frame::Bulk(text) | Frame::Verbatim(_, text) => Ok(Self::parse(&String::from_utf8_lossy(&text))),
            _ => Ok(Self::default()),
        }
    }

    fn parse(text: &str) -> Self {
        let mut info = Self::default();
        let mut section = String::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("# ") {
                section = name.trim().to_ascii_lowercase();
            } else if let Some((name, value)) = line.split_once(':') {
                let pair = (name.to_owned(), value.trim_end().to_owned());
                info.sections.entry(section.clone()).or_default().push(pair);
            }
        }
        info
    }

    fn get(&self, name: &str) -> &str {
        let all = self.sections.values().flatten();
        all.into_iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    fn number(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or(0)
    }

    /// `db0:keys=1,expires=0,avg_ttl=0` as number and fields.
    fn databases(&self) -> Vec<(u32, BTreeMap<&str, u64>)> {
        let rows = self.sections.get("keyspace").into_iter().flatten();
        rows.filter_map(|(name, fields)| {
            let pairs = fields.split(',').filter_map(|field| field.split_once('='));
            let fields = pairs.filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect();
            Some((name.strip_prefix("db")?.parse().ok()?, fields))
        })
        .collect()
    }

    /// Every field, by section; what is a number is one.
    pub(super) fn json(&self) -> Value {
        let mut all = Map::new();
        for (section, fields) in &self.sections {
            let fields = fields.iter().map(|(name, value)| (name.clone(), typed(value)));
            all.insert(section.clone(), Value::Object(fields.collect()));
        }
        let databases =
            self.databases().into_iter().map(|(number, fields)| (number.to_string(), json!(fields)));
        all.insert("keyspace".to_owned(), Value::Object(databases.collect()));
        Value::Object(all)
    }

    /// The few lines that answer most questions.
    pub(super) fn lines(&self, server: &ServerAddress, paint: Paint) -> Vec<String> {
        let size = |name: &str| ByteSize(self.number(name)).to_string();
        let up = Span::secs(self.number("uptime_in_seconds")).to_string();
        let up = up.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let version = match self.get("regie_version") {
            "" => format!("{} {}", self.name(), self.get("redis_version")),
            own => format!("Régie {own}, speaking as Redis {}", self.get("redis_version")),
        };
        let mut rows = vec![
            ("server", format!("{version}, {server}, pid {}, up {up}", self.get("process_id"))),
            ("memory", self.memory()),
            (
                "clients",
                format!("{}, {} of them blocked", self.get("connected_clients"), self.get("blocked_clients")),
            ),
            (
                "commands",
                format!(
                    "{}, {} a second now",
                    self.get("total_commands_processed"),
                    self.get("instantaneous_ops_per_sec")
                ),
            ),
            ("hits", self.hits()),
            ("gone", format!("{} expired, {} evicted", self.get("expired_keys"), self.get("evicted_keys"))),
        ];
        let kept = match self.number("aof_enabled") {
            0 => format!("snapshots, last one {}", self.get("rdb_last_bgsave_status")),
            _ => format!(
                "log of {}, last write {}",
                size("aof_current_size"),
                self.get("aof_last_write_status")
            ),
        };
        rows.push(("kept", kept));
        let mut lines: Vec<String> = rows
            .into_iter()
            .map(|(name, text)| format!("{}{text}", paint.text(Tone::Quiet, format!("{name:<10}"))))
            .collect();
        if self.number("maxmemory_refusing_writes") > 0 {
            lines.push(
                paint.text(Tone::Bad, "the memory is full: writes are refused; raise [store] maxmemory"),
            );
        }
        let mut table = Table::new(&["DATABASE", "KEYS", "EXPIRING", "LIMIT", "POLICY"], &[1, 2, 3]);
        for (number, fields) in self.databases() {
            let count = |name: &str| fields.get(name).copied().unwrap_or(0).to_string();
            let limit = self.number(&format!("db_{number}_maxmemory"));
            let policy = self.get(&format!("db_{number}_maxmemory_policy"));
            let policy = if policy.is_empty() { self.get("maxmemory_policy") } else { policy };
            table.row(vec![
                (Tone::Strong, number.to_string()),
                (Tone::Plain, count("keys")),
                (Tone::Plain, count("expires")),
                (Tone::Plain, if limit > 0 { ByteSize(limit).to_string() } else { "–".to_owned() }),
                (Tone::Plain, policy.to_owned()),
            ]);
        }
        lines.extend(table.render(paint));
        lines
    }

    fn name(&self) -> &'static str {
        if self.get("valkey_version").is_empty() { "Redis" } else { "Valkey" }
    }

    fn memory(&self) -> String {
        let limit = match self.number("maxmemory") {
            0 => "no limit".to_owned(),
            bytes => format!("of {}", ByteSize(bytes)),
        };
        let size = |name: &str| ByteSize(self.number(name));
        format!("{} {limit}, {} at most until now", size("used_memory"), size("used_memory_peak"))
    }

    fn hits(&self) -> String {
        let (hits, misses) = (self.number("keyspace_hits"), self.number("keyspace_misses"));
        if hits + misses == 0 {
            return "nothing was read yet".to_owned();
        }
        let share = hits as f64 * 100.0 / (hits + misses) as f64;
        format!("{share:.1} % of {} reads", hits + misses)
    }
}

fn typed(text: &str) -> Value {
    let number = text.parse::<u64>().map(Value::from).or_else(|_| text.parse::<f64>().map(Value::from));
    number.unwrap_or_else(|_| Value::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read_by_section() {
        let info = Info::parse(
            "# Server\r\nredis_version:7.0.15\r\n\r\n# Stats\r\nkeyspace_hits:3\r\nkeyspace_misses:1\r\n# Keyspace\r\n\
             db0:keys=2,expires=1,avg_ttl=0\r\n",
        );
        assert_eq!(info.hits(), "75.0 % of 4 reads");
        let json = info.json();
        assert_eq!((&json["stats"]["keyspace_hits"], &json["keyspace"]["0"]["keys"]), (&json!(3), &json!(2)));
        assert_eq!(json["server"]["redis_version"], "7.0.15");
    }
}
