//! A TOML file as a tree in which every key and value knows its place.
//!
//! Syntax faults do not end the reading: the parser recovers and goes on, so that a missing quote on line 3 does not
//! hide an unknown key on line 40. What the recovery makes of a broken line is not to be trusted, though, so whatever
//! else is found wrong on a line with a syntax fault is dropped ([`forget_faults_on_broken_lines`]).

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::fault::{Fault, Place};

/// A file larger than this is no configuration.
pub(crate) const FILE_LIMIT: usize = 1 << 20;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

/// What TOML can say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Time(String),
    List(Vec<Node>),
    Table(Table),
}

impl Value {
    /// What it is, for `expects a number, found a string`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "a number",
            Self::Float(_) => "a decimal number",
            Self::Boolean(_) => "true or false",
            Self::Time(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Keys with their values, in the order of the file.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) node: Node,
}

impl Table {
    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Lays `over` on top: tables are joined key by key, any other value replaces what was there.
    pub(crate) fn overlay(&mut self, over: Self) {
        for entry in over.entries {
            match self.entries.iter_mut().find(|own| own.name == entry.name) {
                None => self.entries.push(entry),
                Some(own) => match (&mut own.node.value, entry.node.value) {
                    (Value::Table(below), Value::Table(above)) => below.overlay(above),
                    (_, value) => {
                        own.place = entry.place;
                        own.node = Node { value, place: entry.node.place };
                    }
                },
            }
        }
    }
}

/// Reads `text`, the content of `file`. Syntax faults are added to `faults`; what could be read is returned.
pub(crate) fn parse(file: &str, text: &str, faults: &mut Vec<Fault>) -> Table {
    let file: Arc<str> = file.into();
    if text.len() > FILE_LIMIT {
        let what = format!("the file has {} bytes, more than the {FILE_LIMIT} that are read", text.len());
        faults.push(Fault { place: Place::whole(file), what, fix: None });
        return Table::default();
    }
    let lines = Lines::new(file, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    faults.extend(errors.iter().map(|error| Fault {
        place: lines.place(&error.span().unwrap_or(text.len()..text.len())),
        what: error.message().to_owned(),
        fix: None,
    }));
    table(document.get_ref(), &lines)
}

/// Drops from `found` what stands on a line that `syntax` already names, and keeps `syntax` itself.
pub(crate) fn forget_faults_on_broken_lines(syntax: Vec<Fault>, found: Vec<Fault>) -> Vec<Fault> {
    let broken = |fault: &Fault| {
        syntax.iter().any(|s| s.place.file == fault.place.file && s.place.line == fault.place.line)
    };
    let kept: Vec<Fault> = found.into_iter().filter(|fault| !broken(fault)).collect();
    syntax.into_iter().chain(kept).collect()
}

fn table(from: &DeTable<'_>, lines: &Lines<'_>) -> Table {
    let mut entries: Vec<(usize, Entry)> = from
        .iter()
        .map(|(key, value)| {
            let entry = Entry {
                name: key.get_ref().to_string(),
                place: lines.place(&key.span()),
                node: node(value, lines),
            };
            (key.span().start, entry)
        })
        .collect();
    entries.sort_by_key(|(start, _)| *start);
    Table { entries: entries.into_iter().map(|(_, entry)| entry).collect() }
}

fn node(from: &Spanned<DeValue<'_>>, lines: &Lines<'_>) -> Node {
    let value = match from.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::Float(f64::INFINITY), Value::Integer),
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(yes) => Value::Boolean(*yes),
        DeValue::Datetime(time) => Value::Time(time.to_string()),
        DeValue::Array(list) => Value::List(list.iter().map(|item| node(item, lines)).collect()),
        DeValue::Table(inner) => Value::Table(table(inner, lines)),
    };
    Node { value, place: lines.place(&from.span()) }
}

/// Where lines start, to turn an offset into a line and a column.
struct Lines<'a> {
    file: Arc<str>,
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(file: Arc<str>, text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file, text, starts }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let offset = span.start.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let before = self.text.get(self.starts[line - 1]..offset).unwrap_or_default();
        Place { file: self.file.clone(), line, column: before.chars().count() + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_lines_and_columns_in_characters() {
        let mut faults = Vec::new();
        let root = parse("regie.toml", "[app]\nenv = \"é\"\n'ü' = 1\n", &mut faults);
        assert_eq!(faults, []);
        let Value::Table(app) = &root.entries[0].node.value else { panic!("a table") };
        assert_eq!(app.get("env").unwrap().node.place.to_string(), "regie.toml:2:7");
        assert_eq!(app.get("ü").unwrap().node.place.to_string(), "regie.toml:3:7");
    }

    #[test]
    fn every_syntax_fault_is_found() {
        let mut faults = Vec::new();
        parse("regie.toml", "a = \nb = 1\nc = \"x\nd = [1,\n", &mut faults);
        let lines: Vec<usize> = faults.iter().map(|f| f.place.line).collect();
        assert!(lines.contains(&1) && lines.contains(&3), "{faults:?}");
    }

    #[test]
    fn an_overlay_replaces_key_by_key() {
        let mut faults = Vec::new();
        let mut base =
            parse("regie.toml", "[php]\nversion = '8.2'\nini = { a = '1', b = '2' }\n", &mut faults);
        base.overlay(parse("regie.local.toml", "[php]\nini = { b = '3' }\n", &mut faults));
        assert_eq!(faults, []);
        let Value::Table(php) = &base.get("php").unwrap().node.value else { panic!("a table") };
        assert_eq!(php.get("version").unwrap().node.place.to_string(), "regie.toml:2:11");
        let Value::Table(ini) = &php.get("ini").unwrap().node.value else { panic!("a table") };
        assert_eq!(ini.get("a").unwrap().node.value, Value::Text("1".into()));
        assert_eq!(ini.get("b").unwrap().node.value, Value::Text("3".into()));
        assert_eq!(ini.get("b").unwrap().node.place.to_string(), "regie.local.toml:2:13");
    }
}
