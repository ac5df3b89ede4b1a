//! The I/O: the Redis client, the drivers, the pool behind the executor, the runner and its control socket.

pub mod archive;
mod clock;
pub mod control;
mod deaths;
pub mod driver;
pub mod executor;
#[cfg(feature = "sql")]
mod file_watch;
#[cfg(feature = "sql")]
pub mod journal;
#[cfg(feature = "sql")]
pub mod laravel_database;
pub mod laravel_redis;
pub mod metrics;
#[cfg(feature = "sql")]
pub mod moving;
mod parked;
pub mod pauses;
#[cfg(feature = "sql")]
pub mod reach;
pub mod redis;
pub mod runner;
#[cfg(feature = "sql")]
pub mod sql;
#[cfg(feature = "sql")]
pub mod symfony_doctrine;
pub mod symfony_redis;
#[cfg(feature = "sql")]
mod table;
