//! How far a move is: a bar on a terminal's last line, else a line now and then.

use std::io::{IsTerminal as _, Write as _};

use crate::output;

const WIDTH: u64 = 24;

/// Where stderr is no terminal there is a line for each so many parts of the whole.
const LINES: u64 = 4;

/// Below so many a line says nothing that the last one will not.
const FEW: u64 = 1_000;

/// A bar.
pub(super) struct Meter {
    label: String,
    terminal: bool,
    shown: String,
    part: u64,
}

impl Meter {
    pub(super) fn new(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            terminal: std::io::stderr().is_terminal(),
            shown: String::new(),
            part: 0,
        }
    }

    /// `done` of `total`, or of nobody knows how many when that is 0.
    pub(super) fn show(&mut self, done: u64, total: u64) {
        if self.terminal {
            let line = bar(&self.label, done, total);
            if line != self.shown {
                let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
                self.shown = line;
            }
            return;
        }
        let part = (done.min(total) * LINES).checked_div(total).unwrap_or(done / 10_000);
        if part > self.part && done.max(total) >= FEW {
            self.part = part;
            let of = if total == 0 { String::new() } else { format!(" of {total}") };
            output::note(format_args!("{}: {done}{of}", self.label));
        }
    }

    pub(super) fn end(&self) {
        if self.terminal && !self.shown.is_empty() {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}

fn bar(label: &str, done: u64, total: u64) -> String {
    if total == 0 {
        return format!("{label} {done}");
    }
    // More may have come since they were counted.
    let done_of = done.min(total);
    let full = usize::try_from(done_of * WIDTH / total).unwrap_or(0);
    let empty = usize::try_from(WIDTH).unwrap_or(0) - full;
    let share = done_of * 100 / total;
    format!("{label} [{}{}] {share:3} %  {done} of {total}", "#".repeat(full), "-".repeat(empty))
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn a_bar_never_runs_over() {
        for (done, total, expected) in [
            (0, 0, "mail 0"),
            (7, 0, "mail 7"),
            (0, 8, "mail [------------------------]   0 %  0 of 8"),
            (2, 8, "mail [######------------------]  25 %  2 of 8"),
            (9, 8, "mail [########################] 100 %  9 of 8"),
        ] {
            assert_eq!(bar("mail", done, total), expected);
        }
    }
}
