//! What is wrong with an application, its configuration or its machine, and the fix for each.

pub(crate) mod queues;
mod rules;

use std::fmt;

use serde::Serialize;

use crate::fault::Fault;

pub use rules::{check, refusals};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Note,
    /// It is served, but something will not work or not well.
    Warning,
    /// It is not started, or would answer with errors.
    Error,
}

impl Severity {
    /// The word in front of the line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One line of the checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What was found, as a lower-case fragment.
    pub what: String,
    /// Where: a file with its line, a folder, a setting.
    #[serde(rename = "where")]
    pub place: String,
    /// What to do.
    pub fix: String,
}

impl Finding {
    /// A finding; `place` and `fix` may be empty.
    #[must_use]
    pub fn new(
        severity: Severity,
        place: impl Into<String>,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { severity, what: what.into(), place: place.into(), fix: fix.into() }
    }
}

impl From<&Fault> for Finding {
    fn from(fault: &Fault) -> Self {
        Self::new(
            Severity::Error,
            fault.place.to_string(),
            &*fault.what,
            fault.fix.as_deref().unwrap_or_default(),
        )
    }
}

impl fmt::Display for Finding {
    /// `warning: .env:3: what` and, on a second line, `  fix: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.severity.as_str())?;
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.what)?;
        if self.fix.is_empty() { Ok(()) } else { write!(f, "\n  fix: {}", self.fix) }
    }
}
