//! How things stop. Whoever stops says which phase it is in, so that a log or `regie status` can say
//! what is still awaited.

/// The phases of a graceful stop, in order. Each has a deadline; past it the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum StopPhase {
    /// Serving.
    #[default]
    Running,
    /// Nothing new is taken; what was begun is finished.
    Draining,
    /// The drain's deadline has passed; what is left is told to end now.
    Cutting,
    /// Nothing is left.
    Stopped,
}

impl StopPhase {
    /// The phase in one word, as logs and `status` show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Cutting => "cutting",
            Self::Stopped => "stopped",
        }
    }
}
