//! How a command ends. The numbers are a promise to scripts; 64, 69 and 75 are those of BSD's
//! `sysexits.h`.

/// The exit status of every `regie` command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// It was tried and failed; the message says why.
    Failed = 1,
    /// Bad usage or configuration: trying again without a change is pointless (`EX_USAGE`).
    Usage = 64,
    /// Something needed is not there: a package, a port, a service (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// Not now, but perhaps in a moment (`EX_TEMPFAIL`).
    TryAgain = 75,
}

impl Exit {
    /// The number that the process ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
