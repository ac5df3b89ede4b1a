//! One way to speak to SQLite, MySQL, MariaDB and PostgreSQL: statements with `?`, rows of numbers and texts.
//!
//! Statements are written once for all. What differs is asked of [`Server`]: how names are quoted, how rows are locked.
//! Columns come with the types that a framework's migration gave them, signed or not, wide or narrow; a statement that
//! reads a number says so with [`Server::number`].

use std::path::PathBuf;
use std::time::Duration;

use regie_core::Secret;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{MySql, MySqlPool, PgPool, Postgres, Sqlite, SqlitePool};
use tokio::sync::OnceCell;

use super::redis::Fault;

/// Where a database is, and as whom to speak to it.
#[derive(Debug, Clone)]
pub enum Target {
    /// A file on this machine.
    Sqlite(PathBuf),
    /// MySQL or MariaDB.
    Mysql(Account),
    /// PostgreSQL.
    Postgres(Account),
}

/// A database of a server.
#[derive(Debug, Clone)]
pub struct Account {
    /// Host name or address; a path for a socket in the file system.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user.
    pub user: String,
    /// The password.
    pub password: Secret,
    /// The database.
    pub database: String,
}

/// A value of a row or a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// NULL.
    Null,
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Value {
    /// The number; 0 for everything else.
    #[must_use]
    pub fn number(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            // Some servers count in decimals.
            Self::Text(text) => text.parse().unwrap_or(0),
            Self::Null => 0,
        }
    }

    /// The text; a number is written out.
    #[must_use]
    pub fn into_text(self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

/// What a statement has found.
pub type Row = Vec<Value>;

/// How long a statement may wait for a connection, and for another's lock.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
enum Pool {
    Sqlite(SqlitePool),
    Mysql(MySqlPool),
    Postgres(PgPool),
}

/// A database, connected to when it is first needed and again when it was away.
#[derive(Debug)]
pub struct Server {
    pool: Pool,
    address: String,
    /// Whether rows that another has locked can be passed over.
    skips_locked: OnceCell<bool>,
}

/// Statements that are done together or not at all. Dropped, they are not.
#[derive(Debug)]
pub struct Transaction(Begun);

#[derive(Debug)]
enum Begun {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Mysql(sqlx::Transaction<'static, MySql>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Server {
    /// The database at `target`. Nothing is connected yet.
    #[must_use]
    pub fn new(target: &Target) -> Self {
        // One works, one looks on: the server is the application's first of all.
        const CONNECTIONS: u32 = 2;
        let (pool, address) = match target {
            Target::Sqlite(path) => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .create_if_missing(false)
                    .busy_timeout(PATIENCE);
                let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE);
                (Pool::Sqlite(pool.connect_lazy_with(options)), path.display().to_string())
            }
            Target::Mysql(account) => {
                let options = MySqlConnectOptions::new().username(&account.user).database(&account.database);
                // An empty one that is sent is a wrong one.
                let options = match account.password.reveal() {
                    "" => options,
                    password => options.password(password),
                };
                let options = if account.host.starts_with('/') {
                    options.socket(&account.host)
                } else {
                    options.host(&account.host).port(account.port)
                };
                let pool = MySqlPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE);
                (Pool::Mysql(pool.connect_lazy_with(options)), format!("{}:{}", account.host, account.port))
            }
            Target::Postgres(account) => {
                let options = PgConnectOptions::new_without_pgpass()
                    .username(&account.user)
                    .password(account.password.reveal())
                    .database(&account.database)
                    .ssl_mode(PgSslMode::Disable)
                    .port(account.port);
                let options = if account.host.starts_with('/') {
                    options.socket(&account.host)
                } else {
                    options.host(&account.host)
                };
                let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE);
                (
                    Pool::Postgres(pool.connect_lazy_with(options)),
                    format!("{}:{}", account.host, account.port),
                )
            }
        };
        Self { pool, address, skips_locked: OnceCell::new() }
    }

    /// Whether this is SQLite, whose one file can be watched.
    #[must_use]
    pub const fn is_sqlite(&self) -> bool {
        matches!(self.pool, Pool::Sqlite(_))
    }

    /// `name` as a table, `schema.name` too.
    #[must_use]
    pub fn table(&self, name: &str) -> String {
        let quote = if matches!(self.pool, Pool::Mysql(_)) { '`' } else { '"' };
        let part = |part: &str| format!("{quote}{}{quote}", part.replace(quote, ""));
        name.split('.').map(part).collect::<Vec<_>>().join(".")
    }

    /// `expression` as a number that [`Value::Number`] holds, whatever the column's width.
    #[must_use]
    pub fn number(&self, expression: &str) -> String {
        let kind = match self.pool {
            Pool::Sqlite(_) => "INTEGER",
            Pool::Mysql(_) => "SIGNED",
            Pool::Postgres(_) => "BIGINT",
        };
        format!("CAST({expression} AS {kind})")
    }

    /// A placeholder for a moment, written as `2026-11-21 10:13:00`.
    #[must_use]
    pub const fn time_argument(&self) -> &'static str {
        if matches!(self.pool, Pool::Postgres(_)) { "CAST(? AS TIMESTAMP)" } else { "?" }
    }

    /// A column with moments, as text of the same form.
    #[must_use]
    pub fn time(&self, column: &str) -> String {
        match self.pool {
            Pool::Sqlite(_) => column.to_owned(),
            Pool::Mysql(_) => format!("CAST({column} AS CHAR)"),
            Pool::Postgres(_) => format!("TO_CHAR({column}, 'YYYY-MM-DD HH24:MI:SS')"),
        }
    }

    /// What a SELECT ends with whose rows are then changed: rows that another has locked are passed over where the
    /// server can, as the frameworks do from MySQL 8.0.1, MariaDB 10.6 and PostgreSQL 9.5 on.
    ///
    /// # Errors
    ///
    /// When the server cannot be asked for its version.
    pub async fn lock(&self) -> Result<&'static str, Fault> {
        let skips = self
            .skips_locked
            .get_or_try_init(|| async {
                match self.pool {
                    Pool::Sqlite(_) => Ok(None),
                    Pool::Postgres(_) => Ok(Some(true)),
                    Pool::Mysql(_) => {
                        let rows = self.rows("SELECT VERSION()", &[]).await?;
                        let version = rows.into_iter().flatten().next().map(Value::into_text);
                        Ok(Some(version.is_some_and(|version| skips_locked(&version))))
                    }
                }
                .map(|skips: Option<bool>| skips.unwrap_or(false))
            })
            .await?;
        Ok(match (&self.pool, skips) {
            (Pool::Sqlite(_), _) => "",
            (_, true) => " FOR UPDATE SKIP LOCKED",
            (_, false) => " FOR UPDATE",
        })
    }

    /// What a transaction asks first so that no other that asks for the same word goes on before it has ended; none where
    /// writing waits by itself. In MySQL, deleting waits for rows that another has inserted.
    #[must_use]
    pub const fn turn(&self) -> Option<&'static str> {
        match self.pool {
            Pool::Postgres(_) => {
                Some("SELECT CAST(1 AS BIGINT) FROM (SELECT pg_advisory_xact_lock(hashtext(?))) AS turn")
            }
            Pool::Sqlite(_) | Pool::Mysql(_) => None,
        }
    }

    /// What `sql` finds.
    ///
    /// # Errors
    ///
    /// When the server is away or refuses.
    pub async fn rows(&self, sql: &str, arguments: &[Value]) -> Result<Vec<Row>, Fault> {
        let found = match &self.pool {
            Pool::Sqlite(pool) => sqlite(sql, arguments).fetch_all(pool).await.and_then(|rows| read(&rows)),
            Pool::Mysql(pool) => mysql(sql, arguments).fetch_all(pool).await.and_then(|rows| read(&rows)),
            Pool::Postgres(pool) => {
                postgres(&numbered(sql), arguments).fetch_all(pool).await.and_then(|rows| read(&rows))
            }
        };
        found.map_err(|fault| self.fault(&fault))
    }

    /// Does `sql`. How many rows it touched.
    ///
    /// # Errors
    ///
    /// When the server is away or refuses.
    pub async fn run(&self, sql: &str, arguments: &[Value]) -> Result<u64, Fault> {
        let done = match &self.pool {
            Pool::Sqlite(pool) => sqlite(sql, arguments).execute(pool).await.map(|done| done.rows_affected()),
            Pool::Mysql(pool) => mysql(sql, arguments).execute(pool).await.map(|done| done.rows_affected()),
            Pool::Postgres(pool) => {
                postgres(&numbered(sql), arguments).execute(pool).await.map(|done| done.rows_affected())
            }
        };
        done.map_err(|fault| self.fault(&fault))
    }

    /// Begins a transaction; in SQLite one that will write, so that it waits for its turn here and not in the middle.
    ///
    /// # Errors
    ///
    /// When the server is away.
    pub async fn begin(&self) -> Result<Transaction, Fault> {
        let begun = match &self.pool {
            Pool::Sqlite(pool) => pool.begin_with("BEGIN IMMEDIATE").await.map(Begun::Sqlite),
            Pool::Mysql(pool) => pool.begin().await.map(Begun::Mysql),
            Pool::Postgres(pool) => pool.begin().await.map(Begun::Postgres),
        };
        begun.map(Transaction).map_err(|fault| self.fault(&fault))
    }

    /// What `sql` finds, in `transaction`.
    ///
    /// # Errors
    ///
    /// When the server is away or refuses.
    pub async fn rows_in(
        &self,
        transaction: &mut Transaction,
        sql: &str,
        arguments: &[Value],
    ) -> Result<Vec<Row>, Fault> {
        let found = match &mut transaction.0 {
            Begun::Sqlite(begun) => {
                sqlite(sql, arguments).fetch_all(&mut **begun).await.and_then(|rows| read(&rows))
            }
            Begun::Mysql(begun) => {
                mysql(sql, arguments).fetch_all(&mut **begun).await.and_then(|rows| read(&rows))
            }
            Begun::Postgres(begun) => {
                postgres(&numbered(sql), arguments).fetch_all(&mut **begun).await.and_then(|rows| read(&rows))
            }
        };
        found.map_err(|fault| self.fault(&fault))
    }

    /// Does `sql` in `transaction`. How many rows it touched.
    ///
    /// # Errors
    ///
    /// When the server is away or refuses.
    pub async fn run_in(
        &self,
        transaction: &mut Transaction,
        sql: &str,
        arguments: &[Value],
    ) -> Result<u64, Fault> {
        let done = match &mut transaction.0 {
            Begun::Sqlite(begun) => {
                sqlite(sql, arguments).execute(&mut **begun).await.map(|done| done.rows_affected())
            }
            Begun::Mysql(begun) => {
                mysql(sql, arguments).execute(&mut **begun).await.map(|done| done.rows_affected())
            }
            Begun::Postgres(begun) => postgres(&numbered(sql), arguments)
                .execute(&mut **begun)
                .await
                .map(|done| done.rows_affected()),
        };
        done.map_err(|fault| self.fault(&fault))
    }

    /// Ends `transaction`: all of it is done.
    ///
    /// # Errors
    ///
    /// Nobody knows then whether it was done ([`Fault::Lost`]).
    pub async fn commit(&self, transaction: Transaction) -> Result<(), Fault> {
        let done = match transaction.0 {
            Begun::Sqlite(begun) => begun.commit().await,
            Begun::Mysql(begun) => begun.commit().await,
            Begun::Postgres(begun) => begun.commit().await,
        };
        done.map_err(|fault| Fault::Lost(fault.to_string()))
    }

    fn fault(&self, fault: &sqlx::Error) -> Fault {
        match fault {
            sqlx::Error::Database(refused) => Fault::Refused(refused.message().to_owned()),
            sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::Tls(_) => {
                Fault::Unreachable { address: self.address.clone(), why: fault.to_string() }
            }
            other => Fault::Lost(other.to_string()),
        }
    }
}

/// `?` as PostgreSQL writes it. No statement of ours has one in a text.
fn numbered(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() + 16);
    let mut number = 0;
    for c in sql.chars() {
        if c == '?' {
            number += 1;
            out.push_str(&format!("${number}"));
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether a MySQL or MariaDB of this version has SKIP LOCKED. The rule is Laravel's.
fn skips_locked(version: &str) -> bool {
    let is_mariadb = version.contains("MariaDB");
    let number = version.strip_prefix("5.5.5-").filter(|_| is_mariadb).unwrap_or(version);
    let mut parts = number.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let found = [0; 3].map(|_| parts.next().unwrap_or(0));
    found >= if is_mariadb { [10, 6, 0] } else { [8, 0, 1] }
}

macro_rules! bound {
    ($name:ident, $database:ty, $arguments:ty) => {
        fn $name<'q>(sql: &'q str, arguments: &[Value]) -> sqlx::query::Query<'q, $database, $arguments> {
            // Numbers of rows are written into the text: kept, each would be another statement.
            let mut query = sqlx::query(sql).persistent(!sql.contains(" IN ("));
            for argument in arguments {
                query = match argument {
                    Value::Null => query.bind(None::<String>),
                    Value::Number(number) => query.bind(*number),
                    Value::Text(text) => query.bind(text.clone()),
                };
            }
            query
        }
    };
}

bound!(sqlite, Sqlite, sqlx::sqlite::SqliteArguments<'q>);
bound!(mysql, MySql, sqlx::mysql::MySqlArguments);
bound!(postgres, Postgres, sqlx::postgres::PgArguments);

fn read<'r, R>(rows: &'r [R]) -> Result<Vec<Row>, sqlx::Error>
where
    R: sqlx::Row,
    usize: sqlx::ColumnIndex<R>,
    Option<i64>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Option<i32>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Option<String>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Option<Vec<u8>>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    let value = |row: &'r R, at: usize| {
        if let Ok(number) = row.try_get::<Option<i64>, _>(at) {
            return Ok(number.map_or(Value::Null, Value::Number));
        }
        if let Ok(number) = row.try_get::<Option<i32>, _>(at) {
            return Ok(number.map_or(Value::Null, |number| Value::Number(number.into())));
        }
        if let Ok(text) = row.try_get::<Option<String>, _>(at) {
            return Ok(text.map_or(Value::Null, Value::Text));
        }
        let bytes = row.try_get::<Option<Vec<u8>>, _>(at)?;
        Ok(bytes.map_or(Value::Null, |bytes| Value::Text(String::from_utf8_lossy(&bytes).into_owned())))
    };
    rows.iter().map(|row| (0..row.len()).map(|at| value(row, at)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered() {
        assert_eq!(numbered("a = ? AND b <= ?"), "a = $1 AND b <= $2");
    }

    #[test]
    fn versions_that_skip_locked_rows() {
        for (version, expected) in [
            ("8.0.0", false),
            ("8.0.1", true),
            ("8.4.2-log", true),
            ("5.7.44", false),
            ("10.5.21-MariaDB", false),
            ("10.6.0-MariaDB", true),
            ("10.11.6-MariaDB-0+deb12u1", true),
            ("5.5.5-10.11.6-MariaDB", true),
        ] {
            assert_eq!(skips_locked(version), expected, "{version}");
        }
    }
}
