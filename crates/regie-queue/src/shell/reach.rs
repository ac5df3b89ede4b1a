//! Where the servers are that an application has described, in the words of the clients here.

use regie_core::Secret;

use super::redis::{Address, Endpoint};
use super::sql::{Account, Target};
use crate::application::{Database, Engine, Server};

/// The database of a connection or transport.
#[must_use]
pub fn target(database: Option<&Database>) -> Target {
    let database = database.cloned().unwrap_or_default();
    let engine = database.engine().unwrap_or(Engine::Sqlite);
    let name = database.database.clone().unwrap_or_default();
    let socket = database.unix_socket.clone().filter(|path| !path.is_empty());
    let host = socket.or_else(|| database.host.as_str().filter(|host| !host.is_empty()).map(str::to_owned));
    let account = |port| Account {
        host: host.clone().unwrap_or_else(|| "127.0.0.1".to_owned()),
        port: database.port().unwrap_or(port),
        user: database.username.clone().unwrap_or_default(),
        password: Secret::new(database.password.clone().unwrap_or_default()),
        database: name.clone(),
    };
    match engine {
        Engine::Sqlite => Target::Sqlite(name.into()),
        Engine::Mysql => Target::Mysql(account(3306)),
        Engine::Postgres => Target::Postgres(account(5432)),
    }
}

/// The Redis server of one.
#[must_use]
pub fn endpoint(server: &Server) -> Endpoint {
    let host = server.host.clone().unwrap_or_else(|| "127.0.0.1".to_owned());
    let socket = server.path.clone().filter(|path| !path.is_empty());
    let address = match socket.or_else(|| host.starts_with('/').then(|| host.clone())) {
        Some(path) => Address::Unix(path.into()),
        None => {
            let host = host.trim_start_matches("tcp://").trim_start_matches('[').trim_end_matches(']');
            Address::Tcp(host.to_owned(), server.port.unwrap_or(6379))
        }
    };
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Endpoint {
        address,
        username: given(&server.username),
        password: given(&server.password).map(Secret::new),
        database: server.database.unwrap_or_default(),
    }
}
