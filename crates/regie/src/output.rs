//! The one place that writes what a person reads: to stdout what was asked for, to stderr what went wrong.
//!
//! Colours are used when the stream is a terminal and `NO_COLOR` is unset or empty (no-color.org). A closed pipe is
//! no error: whoever reads has seen enough.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};

/// How a piece of text is set off. The words say what it means, not which colour it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it is.
    Plain,
    /// A heading or a name.
    Strong,
    /// What matters less.
    Quiet,
    /// All is well.
    Good,
    /// Look at this.
    Warning,
    /// This is wrong.
    Bad,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "\x1b[1m",
            Self::Quiet => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Warning => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }
}

/// A stream and whether it may be coloured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    coloured: bool,
}

impl Paint {
    /// For stdout.
    pub(crate) fn stdout() -> Self {
        Self::new(std::io::stdout().is_terminal())
    }

    /// For stderr.
    pub(crate) fn stderr() -> Self {
        Self::new(std::io::stderr().is_terminal())
    }

    fn new(terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { coloured: terminal && !refused }
    }

    /// `text` in `tone`.
    pub(crate) fn text(self, tone: Tone, text: impl Display) -> String {
        if self.coloured && tone != Tone::Plain {
            format!("{}{text}\x1b[0m", tone.code())
        } else {
            text.to_string()
        }
    }
}

/// A fault and what caused it, in one line: `failed to bind: address in use`.
pub(crate) fn chain(fault: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(fault.source(), |cause| cause.source());
    causes.fold(fault.to_string(), |line, cause| format!("{line}: {cause}"))
}

/// One line to stdout.
pub(crate) fn line(text: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// One line to stderr.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// What went wrong, to stderr: `regie: …`.
pub(crate) fn error(text: impl Display) {
    note(format_args!("{} {text}", Paint::stderr().text(Tone::Bad, "regie:")));
}

/// What might go wrong, to stderr.
pub(crate) fn warning(text: impl Display) {
    note(format_args!("{} {text}", Paint::stderr().text(Tone::Warning, "warning:")));
}

/// A table with aligned columns: a heading, and rows whose cells have a tone. Columns listed in `right` are numbers.
#[derive(Debug)]
pub(crate) struct Table {
    heading: Vec<&'static str>,
    right: &'static [usize],
    rows: Vec<Vec<(Tone, String)>>,
}

impl Table {
    pub(crate) fn new(heading: &[&'static str], right: &'static [usize]) -> Self {
        Self { heading: heading.to_vec(), right, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<(Tone, String)>) {
        assert_eq!(cells.len(), self.heading.len(), "a row has a cell for each heading");
        self.rows.push(cells);
    }

    /// The lines of the table.
    pub(crate) fn render(&self, paint: Paint) -> Vec<String> {
        let widths: Vec<usize> = (0..self.heading.len())
            .map(|column| {
                let cells = self.rows.iter().map(|row| row[column].1.chars().count());
                cells.chain([self.heading[column].len()]).max().unwrap_or(0)
            })
            .collect();
        let heading = self.heading.iter().map(|name| (Tone::Quiet, (*name).to_owned())).collect();
        std::iter::once(&heading).chain(&self.rows).map(|row| self.render_row(row, &widths, paint)).collect()
    }

    fn render_row(&self, row: &[(Tone, String)], widths: &[usize], paint: Paint) -> String {
        let mut line = String::new();
        for (column, (tone, text)) in row.iter().enumerate() {
            let space = " ".repeat(widths[column].saturating_sub(text.chars().count()));
            let gap = if column == 0 { "" } else { "  " };
            let text = paint.text(*tone, text);
            let cell = if self.right.contains(&column) {
                format!("{gap}{space}{text}")
            } else {
                format!("{gap}{text}{space}")
            };
            line.push_str(&cell);
        }
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_stand_right() {
        let mut table = Table::new(&["NAME", "PID"], &[1]);
        table.row(vec![(Tone::Good, "gateway".into()), (Tone::Plain, "7".into())]);
        table.row(vec![(Tone::Bad, "php".into()), (Tone::Plain, "1234".into())]);
        let plain = Paint { coloured: false };
        assert_eq!(table.render(plain), ["NAME      PID", "gateway     7", "php      1234"]);
        let coloured = Paint { coloured: true };
        assert_eq!(table.render(coloured)[1], "\x1b[32mgateway\x1b[0m     7");
    }
}
