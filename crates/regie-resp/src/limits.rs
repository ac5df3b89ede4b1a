/// What a client may ask for. The defaults are those of Redis 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest argument in bytes (`proto-max-bulk-len`).
    pub bulk: usize,
    /// Most arguments of one command.
    pub arguments: usize,
    /// Longest inline command, and longest line of a header, in bytes.
    pub line: usize,
}

impl Limits {
    /// Redis's own limits.
    pub const DEFAULT: Self = Self { bulk: 512 << 20, arguments: i32::MAX as usize, line: 64 << 10 };
    /// What a client may send that has not yet said its password.
    pub const UNAUTHENTICATED: Self = Self { bulk: 16 << 10, arguments: 10, line: 64 << 10 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
