//! How a setting is declared once and used everywhere.
//!
//! `section!` takes the rows of a section: field, type, default, example, each with its doc sentence. Out of them
//! come the typed struct, its reader, the names that a mistyped key is compared with, the rows of
//! `regie check --show` and the page docs/reference/configuration.md. A default is TOML text and goes through the
//! same reader as a person's value, so the page cannot promise another default than the one in force.

use std::collections::BTreeMap;
use std::path::Path;

use regie_core::nearest::nearest;
use regie_core::secret::is_secret_name;
use serde::Serialize;

use crate::document::{self, Entry, Node, Table, Value};
use crate::fault::{Fault, Place};

/// One setting, as the reference page shows it.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The name in the file.
    pub name: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// What may be written.
    pub kind: fn() -> String,
    /// What holds when nothing is written.
    pub default: Default,
    /// A value that could be written.
    pub example: &'static str,
}

/// What holds when a key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// This, as it would be written.
    Toml(&'static str),
    /// Nothing is set; the text says what that means or where the value is found.
    Found(&'static str),
}

/// Where an effective value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of regie.toml or of an overlay.
    File(Place),
    /// A line of a file, with variables or files put in.
    Interpolated(Place),
    /// A variable, and where it was read (`environment`, `.env`).
    Variable(String, String),
    /// Found in the application's folder; the text says in what.
    Detected(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(place) => write!(f, "{}:{}", place.file, place.line),
            Self::Interpolated(place) => write!(f, "{}:{} and environment", place.file, place.line),
            Self::Variable(name, from) => write!(f, "{name} in {from}"),
            Self::Detected(how) => write!(f, "detected: {how}"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A row of `regie check --show`: one effective value. Secrets are `***`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The section, as in the file: `php.web`.
    pub section: String,
    /// The key.
    pub key: String,
    /// The value as it would be written; empty when nothing is set.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// What `${…}` may ask for.
pub(crate) trait Outside {
    /// A variable of the environment or of `.env`.
    fn variable(&self, name: &str) -> Option<String>;
    /// The content of a file, without the newline at its end; the error is a fragment such as `permission denied`.
    fn file(&self, path: &Path) -> Result<String, String>;
}

/// A type that a value of the file can have.
pub(crate) trait Setting: Sized {
    /// What may be written, for the reference page and for faults.
    fn kind() -> String;
    /// Reads `node`; `None` when a fault was reported.
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self>;
    /// The value as it would be written.
    fn show(&self) -> String;
    /// What an absent key means for types that can be absent.
    fn absent() -> Option<Self> {
        None
    }
    /// Adds the rows of `--show`. Only tables have more than one.
    fn record(&self, key: &str, _node: Option<&Node>, origin: Origin, reader: &mut Reader<'_>) {
        let value = self.show();
        reader.row(key, value, origin);
    }
}

/// A table whose keys are declared.
pub(crate) trait Section: Sized {
    /// What the section is for.
    const DOC: &'static str;
    /// Its rows.
    fn keys() -> &'static [Key];
    /// Reads the known keys of `table` and reports the unknown ones for which `also` says no.
    fn read_section(table: Option<&Table>, reader: &mut Reader<'_>, also: &dyn Fn(&Entry) -> bool) -> Self;
}

/// Collects faults and rows while a document is read.
pub(crate) struct Reader<'a> {
    pub(crate) faults: Vec<Fault>,
    pub(crate) shown: Vec<Shown>,
    outside: &'a dyn Outside,
    section: String,
    /// What `${…}` did to the value being read.
    interpolated: bool,
    secret: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(outside: &'a dyn Outside) -> Self {
        Self {
            faults: Vec::new(),
            shown: Vec::new(),
            outside,
            section: String::new(),
            interpolated: false,
            secret: false,
        }
    }

    pub(crate) fn fault(&mut self, place: &Place, what: impl Into<String>, fix: Option<String>) {
        self.faults.push(Fault { place: place.clone(), what: what.into(), fix });
    }

    /// Reads with `section` as the name that faults and rows bear.
    pub(crate) fn within<T>(&mut self, section: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.section, section.to_owned());
        let value = read(self);
        self.section = outer;
        value
    }

    pub(crate) fn section(&self) -> &str {
        &self.section
    }

    /// The value of a declared key, with its default when it is absent or faulty.
    pub(crate) fn field<T: Setting>(&mut self, table: Option<&Table>, name: &str, default: Default) -> T {
        if let Some(entry) = table.and_then(|table| table.get(name)) {
            self.next_value();
            if let Some(value) = T::read(&entry.node, self) {
                let place = entry.node.place.clone();
                let origin =
                    if self.interpolated { Origin::Interpolated(place) } else { Origin::File(place) };
                if self.secret {
                    self.row(name, "\"***\"".to_owned(), origin);
                } else {
                    value.record(name, Some(&entry.node), origin, self);
                }
                return value;
            }
        }
        let value: T = self.default(default);
        value.record(name, None, Origin::Default, self);
        value
    }

    fn default<T: Setting>(&mut self, default: Default) -> T {
        match default {
            Default::Found(_) => T::absent().expect("a setting without default can be absent"),
            Default::Toml(text) => {
                let mut faults = Vec::new();
                let table = document::parse("default", &format!("value = {text}"), &mut faults);
                let node = table.get("value").map(|entry| &entry.node);
                let value = node.and_then(|node| T::read(node, self));
                value.unwrap_or_else(|| unreachable!("the default {text} is read by its own type"))
            }
        }
    }

    pub(crate) fn row(&mut self, key: &str, value: String, origin: Origin) {
        self.shown.push(Shown { section: self.section.clone(), key: key.to_owned(), value, origin });
    }

    /// Reports every key of `table` that is neither declared nor accepted by `also`.
    pub(crate) fn unknown(&mut self, table: Option<&Table>, keys: &[Key], also: &dyn Fn(&Entry) -> bool) {
        let Some(table) = table else { return };
        for entry in &table.entries {
            if keys.iter().any(|key| key.name == entry.name) || also(entry) {
                continue;
            }
            let what = format!("unknown key \"{}\" in [{}]", entry.name, self.section);
            let fix = did_you_mean(&entry.name, keys.iter().map(|key| key.name));
            self.fault(&entry.place, what, fix);
        }
    }

    /// Reports that `node` is of another type than `expected`.
    pub(crate) fn mismatch(&mut self, node: &Node, expected: &str) {
        let what = format!("expects {expected}, found {}", node.value.name());
        let quotes = matches!(node.value, Value::Integer(_) | Value::Float(_) | Value::Time(_))
            && (expected.contains('"') || expected == "text");
        self.fault(&node.place, what, quotes.then(|| "put it in quotes".to_owned()));
    }

    /// The text of `node`, with variables and files put in.
    pub(crate) fn text(&mut self, node: &Node, expected: &str) -> Option<String> {
        let Value::Text(raw) = &node.value else {
            self.mismatch(node, expected);
            return None;
        };
        let mut text = String::with_capacity(raw.len());
        let mut rest = raw.as_str();
        let mut sound = true;
        while let Some(at) = rest.find("${") {
            if let Some(before) = rest[..at].strip_suffix('$') {
                text.push_str(before);
                text.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            text.push_str(&rest[..at]);
            let Some(end) = rest[at..].find('}') else {
                self.fault(
                    &node.place,
                    "\"${\" without \"}\"",
                    Some("write $${ for the two characters".into()),
                );
                return None;
            };
            match self.put_in(&rest[at + 2..at + end]) {
                Ok(value) => text.push_str(&value),
                Err((what, fix)) => {
                    self.fault(&node.place, what, fix);
                    sound = false;
                }
            }
            rest = &rest[at + end + 1..];
        }
        text.push_str(rest);
        sound.then_some(text)
    }

    /// The value of `${expression}`, or what is wrong with it and the way out.
    fn put_in(&mut self, expression: &str) -> Result<String, (String, Option<String>)> {
        self.interpolated = true;
        if let Some(path) = expression.strip_prefix("file:") {
            self.secret = true;
            if !path.starts_with('/') {
                let fix = Some("write it in full, from /".to_owned());
                return Err((format!("the path in ${{file:{path}}} is not absolute"), fix));
            }
            return self.outside.file(Path::new(path)).map_err(|why| {
                (format!("{path} cannot be read: {why}"), Some("create it or correct the path".to_owned()))
            });
        }
        let named = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if expression.is_empty() || !expression.chars().all(named) {
            let fix = Some("write ${NAME} or ${file:/path}, and $${ for the two characters".to_owned());
            return Err((format!("\"${{{expression}}}\" names no variable"), fix));
        }
        self.secret |= is_secret_name(expression);
        self.outside.variable(expression).ok_or_else(|| {
            let what = format!("the variable {expression} is not set");
            (what, Some(format!("set {expression} in the environment or in .env")))
        })
    }

    /// Forgets what `${…}` did to the value before.
    pub(crate) fn next_value(&mut self) {
        (self.interpolated, self.secret) = (false, false);
    }

    /// A value as a fault shows it: quoted, or hidden when it came from a secret.
    pub(crate) fn quote(&self, text: &str) -> String {
        if self.secret { "\"***\"".to_owned() } else { format!("\"{text}\"") }
    }

    /// The text of `node` read by `parse`, whose error becomes the fault.
    pub(crate) fn parsed<T, E: std::fmt::Display>(
        &mut self,
        node: &Node,
        expected: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(node, expected)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(why) => {
                let why = if self.secret {
                    "the value that was put in cannot be read".to_owned()
                } else {
                    why.to_string()
                };
                self.fault(&node.place, format!("expects {expected}: {why}"), None);
                None
            }
        }
    }

    /// Reads each entry of a table whose keys the user names.
    pub(crate) fn map<T: Setting>(&mut self, node: &Node) -> Option<BTreeMap<String, T>> {
        let Value::Table(table) = &node.value else {
            self.mismatch(node, "a table");
            return None;
        };
        let before = self.faults.len();
        let read =
            table.entries.iter().filter_map(|entry| Some((entry.name.clone(), T::read(&entry.node, self)?)));
        let map = read.collect();
        (self.faults.len() == before).then_some(map)
    }
}

/// `did you mean "workers"?`
pub(crate) fn did_you_mean<'n>(typed: &str, names: impl IntoIterator<Item = &'n str>) -> Option<String> {
    nearest(typed, names).map(|name| format!("did you mean \"{name}\"?"))
}

/// A value as a TOML string.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Declares a section: the struct, its rows and its reader. A default is TOML text, or `(found "…")` for an
/// optional field.
macro_rules! section {
    (
        $(#[doc = $section_doc:literal])+
        $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $default:tt, $example:literal;
            )+
        }
    ) => {
        $(#[doc = $section_doc])+
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                pub $field: $type,
            )+
        }

        impl $crate::schema::Section for $name {
            const DOC: &'static str = concat!($($section_doc, "\n"),+);

            fn keys() -> &'static [$crate::schema::Key] {
                &[$(
                    $crate::schema::Key {
                        name: stringify!($field),
                        doc: concat!($($doc, "\n"),+),
                        kind: <$type as $crate::schema::Setting>::kind,
                        default: $crate::schema::default_of!($default),
                        example: $example,
                    },
                )+]
            }

            fn read_section(
                table: Option<&$crate::document::Table>,
                reader: &mut $crate::schema::Reader<'_>,
                also: &dyn Fn(&$crate::document::Entry) -> bool,
            ) -> Self {
                reader.unknown(table, Self::keys(), also);
                Self {
                    $($field: reader.field(table, stringify!($field), $crate::schema::default_of!($default)),)+
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                let mut reader = $crate::schema::Reader::new(&$crate::schema::Nothing);
                <Self as $crate::schema::Section>::read_section(None, &mut reader, &|_| false)
            }
        }
    };
}
pub(crate) use section;

/// The two ways to write a default.
macro_rules! default_of {
    ((found $text:literal)) => {
        $crate::schema::Default::Found($text)
    };
    ($text:literal) => {
        $crate::schema::Default::Toml($text)
    };
}
pub(crate) use default_of;

/// An outside in which nothing is: defaults ask for nothing.
pub(crate) struct Nothing;

impl Outside for Nothing {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }

    fn file(&self, _path: &Path) -> Result<String, String> {
        Err("no files here".to_owned())
    }
}
