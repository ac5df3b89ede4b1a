//! The types that values of regie.toml have, each with its own reading and its own words for what may be written.

mod places;
mod rate;
mod words;
mod zone;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use regie_core::cron::Expression;
use regie_core::secret::is_secret_name;
use regie_core::{ByteSize, Secret, Span};

use crate::document::{Node, Value};
use crate::schema::{Origin, Reader, Setting, did_you_mean, quoted};

pub use places::{Listen, Ready, Upstream};
pub use rate::Rate;
pub use regie_core::Network;
pub use words::{
    AccessLog, AppEnv, Appendfsync, Coding, Framework, HorizonUse, MaxmemoryPolicy, MissedRun, Mode, Reset,
    Restart, Signal,
};
pub use zone::Zone;

/// Declares types that are read from text by `FromStr` and shown by `Display`.
macro_rules! from_text {
    ($($type:ty: $kind:literal;)+) => {$(
        impl Setting for $type {
            fn kind() -> String {
                $kind.to_owned()
            }

            fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
                reader.parsed(node, $kind, |text| text.parse::<$type>())
            }

            fn show(&self) -> String {
                quoted(&self.to_string())
            }
        }
    )+};
}

from_text! {
    Expression: "a cron expression such as \"30 3 * * *\"";
    Listen: "an address such as \"127.0.0.1:8000\" or \"unix:/run/site.sock\"";
    Network: "an address or network such as \"10.0.0.0/8\"";
    Ready: "a check such as \"tcp:127.0.0.1:3306\", \"unix:/run/db.sock\", \"http://127.0.0.1:5173/\", \"command:mysqladmin ping\", \"notify\" or \"running\"";
    Zone: "a time zone such as \"Europe/Paris\"";
    Upstream: "a FastCGI server such as \"unix:/run/php/php8.2-fpm.sock\" or \"10.0.0.3:9000\"";
}

impl Setting for bool {
    fn kind() -> String {
        "true or false".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Boolean(yes) => Some(*yes),
            Value::Text(text) if text.contains("${") => {
                reader.parsed(node, "true or false", |text| match text.to_ascii_lowercase().as_str() {
                    "true" | "1" | "yes" | "on" => Ok(true),
                    "false" | "0" | "no" | "off" | "" => Ok(false),
                    other => Err(format!("\"{other}\" is neither")),
                })
            }
            Value::Text(text) if matches!(text.as_str(), "true" | "false") => {
                reader.fault(
                    &node.place,
                    "expects true or false, found a string",
                    Some("write it without quotes".into()),
                );
                None
            }
            _ => {
                reader.mismatch(node, "true or false");
                None
            }
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// The whole number in `node` between `min` and `max`.
fn integer(node: &Node, reader: &mut Reader<'_>, min: i64, max: i64) -> Option<i64> {
    let kind = if max == i64::MAX || max == i64::from(u32::MAX) {
        if min == 0 { "a number".to_owned() } else { format!("a number from {min}") }
    } else {
        format!("a number from {min} to {max}")
    };
    let number = match &node.value {
        Value::Integer(number) => *number,
        Value::Text(text) if text.contains("${") => reader.parsed(node, &kind, |text| {
            text.trim().parse::<i64>().map_err(|_| format!("\"{text}\" is none"))
        })?,
        Value::Text(text) if text.parse::<i64>().is_ok() => {
            reader.fault(
                &node.place,
                format!("expects {kind}, found a string"),
                Some("write it without quotes".into()),
            );
            return None;
        }
        _ => {
            reader.mismatch(node, &kind);
            return None;
        }
    };
    if (min..=max).contains(&number) {
        return Some(number);
    }
    reader.fault(&node.place, format!("expects {kind}, found {number}"), None);
    None
}

macro_rules! numbers {
    ($($type:ty: $min:expr, $max:expr, $kind:literal;)+) => {$(
        impl Setting for $type {
            fn kind() -> String {
                $kind.to_owned()
            }

            fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
                integer(node, reader, $min, $max).and_then(|number| number.try_into().ok())
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

numbers! {
    u8: 0, 255, "a number from 0 to 255";
    u16: 0, 65_535, "a number from 0 to 65535";
    u32: 0, i64::from(u32::MAX), "a number";
    u64: 0, i64::MAX, "a number";
    i32: -20, 19, "a number from -20 to 19";
}

impl Setting for String {
    fn kind() -> String {
        "text".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(node, "text").filter(|text| no_nul(text, node, reader))
    }

    fn show(&self) -> String {
        quoted(self)
    }
}

/// Texts end up in environments and arguments, which a NUL byte would cut.
fn no_nul(text: &str, node: &Node, reader: &mut Reader<'_>) -> bool {
    if text.contains('\0') {
        reader.fault(&node.place, "contains a NUL character", None);
        return false;
    }
    true
}

impl Setting for PathBuf {
    fn kind() -> String {
        "a path".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let text = reader.text(node, "a path").filter(|text| no_nul(text, node, reader))?;
        if text.is_empty() {
            reader.fault(&node.place, "expects a path, found nothing", Some("leave the key out".into()));
            return None;
        }
        Some(Self::from(text))
    }

    fn show(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Setting for Secret {
    fn kind() -> String {
        "a secret: text, `${NAME}` or `${file:/path}`".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(node, "text").map(Self::new)
    }

    fn show(&self) -> String {
        if self.reveal().is_empty() { "\"\"".to_owned() } else { "\"***\"".to_owned() }
    }
}

impl Setting for ByteSize {
    fn kind() -> String {
        "a size such as \"512mb\"".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if let Value::Integer(bytes) = node.value
            && let Ok(bytes) = u64::try_from(bytes)
        {
            return Some(Self(bytes));
        }
        reader.parsed(node, "a size such as \"512mb\"", str::parse)
    }

    fn show(&self) -> String {
        quoted(&self.to_string().replace(' ', "").to_ascii_lowercase())
    }
}

impl Setting for Span {
    fn kind() -> String {
        "a time such as \"30s\"".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if let Value::Integer(seconds) = node.value
            && let Ok(seconds) = u64::try_from(seconds)
            && seconds.checked_mul(1000).is_some()
        {
            return Some(Self::secs(seconds));
        }
        reader.parsed(node, "a time such as \"30s\"", str::parse)
    }

    fn show(&self) -> String {
        quoted(&self.to_string())
    }
}

impl<T: Setting> Setting for Option<T> {
    fn kind() -> String {
        T::kind()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        T::read(node, reader).map(Some)
    }

    fn show(&self) -> String {
        self.as_ref().map(T::show).unwrap_or_default()
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn record(&self, key: &str, node: Option<&Node>, origin: Origin, reader: &mut Reader<'_>) {
        match self {
            Some(value) => value.record(key, node, origin, reader),
            None => reader.row(key, String::new(), origin),
        }
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn kind() -> String {
        format!("a list, each {}", T::kind())
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::List(items) = &node.value else {
            let fix = matches!(node.value, Value::Text(_)).then(|| "put it in [ ]".to_owned());
            reader.fault(&node.place, format!("expects a list, found {}", node.value.name()), fix);
            return None;
        };
        let read: Vec<T> = items.iter().filter_map(|item| T::read(item, reader)).collect();
        (read.len() == items.len()).then_some(read)
    }

    fn show(&self) -> String {
        format!("[{}]", self.iter().map(T::show).collect::<Vec<_>>().join(", "))
    }
}

impl<T: Setting> Setting for BTreeMap<String, T> {
    fn kind() -> String {
        format!("a table, each value {}", T::kind())
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        reader.map(node)
    }

    fn show(&self) -> String {
        let show = |(name, value): (&String, &T)| format!("{name} = {}", value.show());
        format!("{{ {} }}", self.iter().map(show).collect::<Vec<_>>().join(", "))
    }

    fn record(&self, key: &str, node: Option<&Node>, origin: Origin, reader: &mut Reader<'_>) {
        let table = match node.map(|node| &node.value) {
            Some(Value::Table(table)) => Some(table),
            _ => None,
        };
        if self.is_empty() {
            reader.row(key, String::new(), origin);
            return;
        }
        for (name, value) in self {
            let own =
                table.and_then(|table| table.get(name)).map(|entry| Origin::File(entry.node.place.clone()));
            let shown = if is_secret_name(name) { "\"***\"".to_owned() } else { value.show() };
            reader.row(&format!("{key}.{name}"), shown, own.unwrap_or_else(|| origin.clone()));
        }
    }
}

/// How many workers a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// As the processors and the memory of the machine allow.
    Auto,
    /// This many.
    Exactly(u32),
    /// As the load asks: never fewer, never more.
    Between(u32, u32),
}

/// More processes than this are a slip, not a wish.
pub const PROCESSES_MAX: u32 = 1024;

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Exactly(number) => number.fmt(f),
            Self::Between(min, max) => write!(f, "{min}-{max}"),
        }
    }
}

impl Setting for Count {
    fn kind() -> String {
        "a number, \"MIN-MAX\" or \"auto\"".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Text(text) if text == "auto" => Some(Self::Auto),
            Value::Text(text) if text.contains('-') => Self::range(text).or_else(|| {
                let what = format!("expects two numbers from 1 to {PROCESSES_MAX}, the smaller first, such as \"2-16\"; found \"{text}\"");
                reader.fault(&node.place, what, None);
                None
            }),
            Value::Text(text) if !text.contains("${") && text.parse::<i64>().is_err() => {
                let fix = did_you_mean(text, ["auto"]);
                reader.fault(&node.place, format!("expects a number, \"MIN-MAX\" or \"auto\", found \"{text}\""), fix);
                None
            }
            _ => integer(node, reader, 1, i64::from(PROCESSES_MAX))
                .and_then(|n| n.try_into().ok())
                .map(Self::Exactly),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => "\"auto\"".to_owned(),
            Self::Exactly(number) => number.to_string(),
            Self::Between(..) => format!("\"{self}\""),
        }
    }
}

impl Count {
    fn range(text: &str) -> Option<Self> {
        let (min, max) = text.split_once('-')?;
        let number = |text: &str| text.trim().parse().ok().filter(|n| (1..=PROCESSES_MAX).contains(n));
        let (min, max) = (number(min)?, number(max)?);
        (min <= max).then_some(Self::Between(min, max))
    }
}

/// A value for php.ini; numbers and booleans are written as PHP reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IniValue(pub String);

impl fmt::Display for IniValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Setting for IniValue {
    fn kind() -> String {
        "text, a number, true or false".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Boolean(yes) => Some(Self(if *yes { "1" } else { "0" }.to_owned())),
            Value::Integer(number) => Some(Self(number.to_string())),
            Value::Float(number) if number.is_finite() => Some(Self(number.to_string())),
            Value::Text(_) => {
                let text = reader.text(node, "text").filter(|text| no_nul(text, node, reader))?;
                if text.contains(['\n', '\r']) {
                    reader.fault(&node.place, "an ini value is a single line", None);
                    return None;
                }
                Some(Self(text))
            }
            _ => {
                reader.mismatch(node, "text, a number, true or false");
                None
            }
        }
    }

    fn show(&self) -> String {
        quoted(&self.0)
    }
}

/// A value of an environment variable; numbers and booleans are taken as written. It may be a secret, so it is not
/// printed by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvValue(pub String);

impl fmt::Debug for EnvValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Setting for EnvValue {
    fn kind() -> String {
        "text, a number, true or false".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Boolean(yes) => Some(Self(yes.to_string())),
            Value::Integer(number) => Some(Self(number.to_string())),
            Value::Float(number) => Some(Self(number.to_string())),
            _ => String::read(node, reader).map(Self),
        }
    }

    fn show(&self) -> String {
        quoted(&self.0)
    }
}

/// A command: a line that `sh` runs, or a list that is run as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// Given to `sh -c`.
    Shell(String),
    /// The program and its arguments.
    Arguments(Vec<String>),
}

impl Setting for CommandLine {
    fn kind() -> String {
        "a command line for sh, or a list of program and arguments".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let command = match &node.value {
            Value::List(_) => Self::Arguments(Vec::read(node, reader)?),
            _ => Self::Shell(
                reader
                    .text(node, "a command line or a list of arguments")
                    .filter(|t| no_nul(t, node, reader))?,
            ),
        };
        let empty = match &command {
            Self::Shell(line) => line.trim().is_empty(),
            Self::Arguments(list) => list.first().is_none_or(String::is_empty),
        };
        if empty {
            reader.fault(&node.place, "the command is empty", None);
            return None;
        }
        Some(command)
    }

    fn show(&self) -> String {
        match self {
            Self::Shell(line) => quoted(line),
            Self::Arguments(list) => list.show(),
        }
    }

    fn absent() -> Option<Self> {
        Some(Self::Shell(String::new()))
    }
}
