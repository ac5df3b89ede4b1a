//! Where lines go. Lines of the access log are gathered and written together, at the latest after a second.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that are gathered before they are written at once.
const GATHER: usize = 32 * 1024;

/// Takes whole lines.
pub type Sink = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// The gateway's logs. A sink must not block for long: it is called from the thread that serves.
#[derive(Clone)]
pub struct Logs {
    access: Sink,
    error: Sink,
    gathered: Arc<Mutex<Vec<u8>>>,
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logs")
    }
}

impl Logs {
    /// Logs that go to these sinks.
    #[must_use]
    pub fn new(access: Sink, error: Sink) -> Self {
        Self { access, error, gathered: Arc::new(Mutex::new(Vec::new())) }
    }

    /// Logs that go nowhere.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Arc::new(|_| {}), Arc::new(|_| {}))
    }

    /// Writes what was gathered.
    pub fn flush(&self) {
        let gathered = std::mem::take(&mut *self.gathered.lock().unwrap_or_else(PoisonError::into_inner));
        if !gathered.is_empty() {
            (self.access)(&gathered);
        }
    }

    pub(crate) fn access(&self, put: impl FnOnce(&mut Vec<u8>)) {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        put(&mut gathered);
        if gathered.len() >= GATHER {
            let full = std::mem::take(&mut *gathered);
            drop(gathered);
            (self.access)(&full);
        }
    }

    pub(crate) fn error(&self, line: &str) {
        (self.error)(format!("{line}\n").as_bytes());
    }
}
