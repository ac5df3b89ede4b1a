//! What is wrong with a configuration, where, and what to do about it.
//!
//! Reading never stops at the first fault: a person repairs a file once, not once per mistake. So a fault is a
//! value that is collected, and only the whole list is an error.

use std::fmt;
use std::sync::Arc;

/// A place in a file that a person can open: `regie.toml:4:1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as it was named to us.
    pub file: Arc<str>,
    /// The line, from 1; 0 stands for the file as a whole.
    pub line: usize,
    /// The column in characters, from 1; 0 where only the line is known.
    pub column: usize,
}

impl Place {
    /// The file as a whole.
    #[must_use]
    pub fn whole(file: impl Into<Arc<str>>) -> Self {
        Self { file: file.into(), line: 0, column: 0 }
    }

    /// A line of a file.
    #[must_use]
    pub fn line(file: impl Into<Arc<str>>, line: usize) -> Self {
        Self { file: file.into(), line, column: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        Ok(())
    }
}

/// One mistake in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it stands.
    pub place: Place,
    /// What is wrong, as a lower-case fragment.
    pub what: String,
    /// What to do instead, where that is known.
    pub fix: Option<String>,
}

impl fmt::Display for Fault {
    /// `regie.toml:4:1: unknown key "worker" in [php.web]; did you mean "workers"?`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        self.fix.as_ref().map_or(Ok(()), |fix| write!(f, "; {fix}"))
    }
}

/// Every fault of a configuration, in the order of the files. Exit code 64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    list: Vec<Fault>,
}

impl Faults {
    /// The faults as an error, when there is one.
    ///
    /// # Errors
    /// The list without repetition, sorted by place, with the files in the order of `files`, when it is not empty.
    pub(crate) fn check(mut list: Vec<Fault>, files: &[String]) -> Result<(), Self> {
        if list.is_empty() {
            return Ok(());
        }
        let order = |fault: &Fault| files.iter().position(|file| **file == *fault.place.file);
        list.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.place.cmp(&b.place)));
        list.dedup();
        Err(Self { list })
    }

    /// The faults, sorted by place.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.list.iter()
    }
}

impl fmt::Display for Faults {
    /// One line each, then how many there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.list {
            writeln!(f, "{fault}")?;
        }
        match self.list.len() {
            1 => f.write_str("1 fault in the configuration; nothing was started"),
            n => write!(f, "{n} faults in the configuration; nothing was started"),
        }
    }
}

impl std::error::Error for Faults {}
