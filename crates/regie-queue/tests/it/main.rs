//! The runner against real servers, with workers that are made up.

mod database;
mod databases;
mod faults;
mod laravel;
mod limits;
mod moving;
mod moving_messages;
mod search;
mod server;
mod symfony;
mod workers;
