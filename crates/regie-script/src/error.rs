//! How a script fails.

/// Why a script did not run or did not end well: an error line for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", String::from_utf8_lossy(line))]
pub struct ScriptError {
    /// Code, space, words, as it is sent after `-`. Without line breaks.
    pub line: Vec<u8>,
    /// Whether error statistics should count it. False when it arose in a command, which has counted it.
    pub counted: bool,
}

impl ScriptError {
    /// An error with this line.
    pub(crate) fn new(line: impl Into<Vec<u8>>) -> Self {
        let mut line = line.into();
        for byte in &mut line {
            if *byte == b'\r' || *byte == b'\n' {
                *byte = b' ';
            }
        }
        Self { line, counted: true }
    }

    /// The answer to EVALSHA of a script that is not there.
    #[must_use]
    pub fn no_script() -> Self {
        Self::new("NOSCRIPT No matching script. Please use EVAL.")
    }
}
