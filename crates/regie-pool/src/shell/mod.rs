//! What touches sockets and the clock.

mod clock;
mod exchange;
mod lane;
mod link;
mod message;
mod pool;
mod stray;
mod stream;

pub use exchange::AnswerBody;
pub use message::{Heirloom, Sent};
pub use pool::{Counts, Pool, PoolSettings, StderrSink};
pub use stream::{Address, BadAddress};
