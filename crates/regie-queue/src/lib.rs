//! Runs a team's queued jobs as they lie in their queue, on warm PHP workers.
//!
//! The framework's own code runs each job; what is done here is everything around it: fetching, leasing, timing,
//! acknowledging, giving back, recording. The layout in the server is the framework's own, so its workers can run
//! beside this one or take over at any moment.
//!
//! In reading order, all pure:
//! - [`application`]: which queues the application has, and who fetches their jobs.
//! - [`payload`]: a Laravel job, read without moving a byte.
//! - [`parcel`]: what the layouts write differently, when a job is moved between them.
//! - [`message`]: what a worker is told and what it answers.
//! - [`mark`]: how a lease says whose it is.
//! - [`desk`]: what is leased, handed to a worker, done: the machine that must lose nothing.
//! - [`plan`]: which queue next, and how much work ahead.
//! - [`limits`]: how many jobs of one class run, and begin.
//! - [`backoff`]: how long to wait before the next try.
//! - [`record`]: what became of each job, and the numbers over all.
//! - [`search`]: which of the jobs that wait somebody looks for.
//!
//! [`shell`] does the I/O: the Redis client, the drivers, the pool, the runner, its control socket.
#![forbid(unsafe_code)]

pub mod application;
pub mod backoff;
pub mod desk;
pub mod limits;
pub mod mark;
pub mod message;
pub mod parcel;
pub mod payload;
pub mod plan;
pub mod record;
pub mod scale;
pub mod search;
pub mod shell;
