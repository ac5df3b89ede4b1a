//! Scripts.

/// What scripts keep.
#[derive(Debug, Default)]
pub(crate) struct Scripts {
    pub(crate) out_of_memory: bool,
}

impl Scripts {
    pub(crate) fn memory(&self) -> usize {
        0
    }

    pub(crate) fn count(&self) -> usize {
        0
    }
}
