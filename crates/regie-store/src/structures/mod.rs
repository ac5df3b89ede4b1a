//! The data structures behind the types, without commands: what a value is, not what one may do with it.

pub(crate) mod ends;
pub(crate) mod hash;
pub(crate) mod list;
pub(crate) mod pack;
pub(crate) mod set;
pub(crate) mod sorted_set;
pub(crate) mod stream;
