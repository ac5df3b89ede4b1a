//! Scripts against the engine: alone with a small host of their own, and side by side with Debian's redis-server.

mod differential;
mod fake;
mod functions;
mod laravel;
mod limits;
mod native;
mod random;
mod redis;
mod sandbox;
mod scripts;
