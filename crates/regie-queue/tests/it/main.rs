//! The runner against a real redis-server, with workers that are made up.

mod faults;
mod laravel;
mod server;
mod workers;
