//! End-to-end tests: the real programs, real applications, real clients.
//!
//! - [`command_line`]: what a person types, and how each command ends.
//! - [`first_hours`]: applications as they come, served without configuration.
//! - [`frameworks`]: Laravel and Symfony in classic and in worker mode.
//! - [`rewinding`]: the same applications in rewind mode beside classic mode, and the way back to that.
//! - [`faults`]: what may break, and what must not break with it.
//! - [`reload`]: new code and configuration under load.
//! - [`limits`]: slow clients, many connections, full disks.
//! - [`moving`], [`moving_symfony`]: jobs, sessions and cached values from one connection to another.
//! - [`queue_commands`]: what `regie queue` tells and does.
//! - [`queue_faults`]: jobs under kills at random moments, and jobs that misbehave, each one counted.
//! - [`takeover`]: the frameworks' own workers beside ours, before them and after them.
//! - [`schedule`]: scheduled tasks, of regie.toml and of Laravel.
//! - [`setup`]: what is installed on a machine that has nothing.
//! - [`store`]: the embedded store, and the clients of Redis.
//! - [`store_elsewhere`]: stores of other machines: sentinels and a failover, a cluster.
//! - [`store_frameworks`]: Laravel and Symfony on it, through phpredis and Predis.
//! - [`terminal`]: commands that ask and are answered in a terminal.
//! - [`tour`]: what each page of the tour promises, by hand and in Chromium.

mod command_line;
mod faults;
mod first_hours;
mod frameworks;
mod limits;
mod load;
mod moving;
mod moving_symfony;
mod queue_app;
mod queue_clock;
mod queue_commands;
mod queue_faults;
mod queue_workers;
mod queues;
mod reload;
mod rewinding;
mod schedule;
mod setup;
mod store;
mod store_elsewhere;
mod store_frameworks;
mod takeover;
mod terminal;
mod tour;
