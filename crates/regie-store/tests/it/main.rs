//! The store as its clients see it: the real server over real sockets, and beside Debian's redis-server.

mod command_table;
mod commands;
mod differential;
mod durability;
mod faults;
mod following;
mod frameworks;
mod memory;
mod model;
mod moving;
mod process;
mod reference;
mod scripts;
mod server;
mod tools;
mod users;
