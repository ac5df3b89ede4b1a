//! `regie-php` for real: the built program, spoken to in FastCGI over its socket, running the PHP files of `e2e/php`.

mod behaviours;
mod client;
mod faults;
mod fpm;
mod jobs;
mod lane;
mod lifecycle;
mod messages;
mod nginx;
mod pool;
mod protocol;
mod rewind;
mod rewind_odd;
mod rewind_process;
mod rewind_services;
mod runners;
mod worker;
