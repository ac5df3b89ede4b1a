//! The I/O: the Redis client, the drivers, the pool behind the executor, the runner and its control socket.

mod clock;
pub mod driver;
pub mod executor;
pub mod laravel_redis;
pub mod redis;
pub mod runner;
