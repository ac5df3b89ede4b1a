//! What the end-to-end tests share: applications in folders of their own, `regie up` on free ports, HTTP without a
//! library between the test and the bytes, and waiting for a condition instead of for a time.

pub mod app;
pub mod database;
pub mod http;
pub mod port;
pub mod programs;
pub mod redis;
pub mod site;
pub mod terminal;
pub mod wait;

pub use app::App;
pub use database::MariaDb;
pub use http::{Connection, Reply};
pub use port::free_port;
pub use programs::{need, program};
pub use redis::Redis;
pub use site::Site;
pub use terminal::Terminal;
pub use wait::{eventually, within};
