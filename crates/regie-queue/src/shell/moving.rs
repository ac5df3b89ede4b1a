//! Moves jobs from one queue connection to another while both are in use.
//!
//! A batch takes three steps, and each may be asked again:
//! 1. *taken*: at the source it leaves the queue for a place where no worker looks, in one write.
//! 2. *staged*: at the target it is put in a place where no worker looks, in one write.
//! 3. *confirmed*: the source drops it; then the target puts it into the queue, in one write.
//!
//! Whoever begins after a kill finishes the batch that lies there before taking another: what the source still has is
//! staged again, over itself; what only the target has was confirmed. So none is lost and none is doubled, and one
//! batch at a time is all that lies outside of the queues. One mover at a time: the caller sees to that.
//!
//! What a mover had sent when it was killed may arrive after the next one has begun, and a batch that is staged once more
//! after it was published would be doubled. So each mover claims a Redis with a word of its own, without which its
//! scripts do nothing. In a table, staging waits until an old transaction has ended, and other steps name their rows.
//!
//! | | taken | staged |
//! |---|---|---|
//! | Redis | hash `queues:NAME:regie-moving` | hash `queues:NAME:regie-arriving:FROM` |
//! | `jobs` table | queue `regie:moving:NAME` | queue `regie:arriving:FROM:NAME` |
//!
//! Messenger's transports are ends too (`moving/stream.rs`, `moving/messages.rs`); each is one queue, so what a queue is called does not
//! matter there.
//!
//! Jobs that a worker has in hand stay where they are and end there; leases that have ended are moved.
//!
//! Failed jobs stay in the framework's own list, whatever connection they are of; what changes in it is the connection
//! that a retry leads to ([`readdress`]).

mod messages;
mod stream;

use std::collections::BTreeSet;
use std::time::Duration;

use regie_resp::Frame;
use tokio::sync::OnceCell;

use self::messages::Messages;
use self::stream::Stream;
use super::clock::unix;
use super::driver::Fault;
use super::redis::{Batch, Client, Endpoint, accepted};
use super::sql::{Row, Server, Target, Value};
use super::table::{list, parked_queue, seconds};
use super::{symfony_doctrine, symfony_redis};
use crate::parcel::{Parcel, for_redis, is_job};
use crate::payload;

/// A claim is forgotten after so many seconds: no move takes a week.
const CLAIM_S: &[u8] = b"604800";

/// So many jobs are on their way at once.
const BATCH: usize = 200;

/// Held jobs come first; else those whose lease has ended, then those that wait, then the delayed.
const TAKE: &str = "\
if redis.call('get', KEYS[6]) ~= ARGV[5] then return redis.error_reply('ERR another regie move has begun') end
local held = redis.call('hgetall', KEYS[5])
if #held > 0 then return held end
local count = tonumber(ARGV[2])
if ARGV[4] == '1' then
  local ended = redis.call('zrangebyscore', KEYS[3], '-inf', ARGV[1], 'LIMIT', 0, count)
  for _, job in ipairs(ended) do
    redis.call('zrem', KEYS[3], job)
    redis.call('rpush', KEYS[1], job)
    redis.call('rpush', KEYS[4], 1)
  end
end
local n = 0
local function hold(at, job)
  n = n + 1
  redis.call('hset', KEYS[5], ARGV[3] .. string.format(':%06d', n), at .. '|' .. job)
end
while n < count do
  local job = redis.call('lpop', KEYS[1])
  if not job then break end
  redis.call('lpop', KEYS[4])
  hold('-', job)
end
if n < count then
  local later = redis.call('zrange', KEYS[2], 0, count - n - 1, 'WITHSCORES')
  for i = 1, #later, 2 do
    redis.call('zrem', KEYS[2], later[i])
    hold(later[i + 1], later[i])
  end
end
return redis.call('hgetall', KEYS[5])";

/// What is held is the truth: what is staged follows it.
const STAGE: &str = "\
if redis.call('get', KEYS[2]) ~= ARGV[1] then return redis.error_reply('ERR another regie move has begun') end
redis.call('del', KEYS[1])
for i = 2, #ARGV, 2 do redis.call('hset', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1";

const CONFIRM: &str = "\
if redis.call('get', KEYS[2]) ~= ARGV[1] then return redis.error_reply('ERR another regie move has begun') end
for i = 2, #ARGV do redis.call('hdel', KEYS[1], ARGV[i]) end
return 1";

const PUBLISH: &str = "\
if redis.call('get', KEYS[5]) ~= ARGV[1] then return redis.error_reply('ERR another regie move has begun') end
local ids = redis.call('hkeys', KEYS[4])
table.sort(ids)
for _, id in ipairs(ids) do
  local value = redis.call('hget', KEYS[4], id)
  local bar = string.find(value, '|', 1, true)
  local at, job = string.sub(value, 1, bar - 1), string.sub(value, bar + 1)
  if at == '-' then
    redis.call('rpush', KEYS[1], job)
    redis.call('rpush', KEYS[3], 1)
  else
    redis.call('zadd', KEYS[2], at, job)
  end
end
redis.call('del', KEYS[4])
return #ids";

/// One end of a move.
#[derive(Debug)]
pub struct Depot {
    connection: String,
    retry_after: Option<Duration>,
    /// What tells whether two connections lead to the same jobs.
    identity: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Redis {
        client: Client,
        prefix: String,
        /// The word with which it was claimed, once it was.
        claimed: OnceCell<String>,
    },
    Table {
        server: Server,
        name: String,
    },
    Stream(Stream),
    Messages(Messages),
}

/// What a move has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// Jobs that are in the target's queue now.
    pub jobs: u64,
    /// Rows that are no jobs, parked at the source.
    pub parked: u64,
    /// Jobs that workers of the source have in hand still.
    pub reserved: u64,
}

impl Depot {
    /// A connection with Laravel's `redis` driver. Nothing is connected yet.
    #[must_use]
    pub fn redis(connection: &str, endpoint: Endpoint, prefix: &str, retry_after: Option<Duration>) -> Self {
        Self {
            connection: connection.to_owned(),
            retry_after,
            identity: format!("{:?} {} {prefix}", endpoint.address, endpoint.database),
            place: Place::Redis {
                client: Client::new(endpoint),
                prefix: prefix.to_owned(),
                claimed: OnceCell::new(),
            },
        }
    }

    /// A connection with Laravel's `database` driver. Nothing is connected yet.
    #[must_use]
    pub fn table(connection: &str, target: &Target, table: &str, retry_after: Option<Duration>) -> Self {
        let server = Server::new(target);
        Self {
            connection: connection.to_owned(),
            retry_after,
            identity: format!("{} {table}", database(target)),
            place: Place::Table { name: server.table(table), server },
        }
    }

    /// A transport with Messenger's Redis bridge. Nothing is connected yet.
    #[must_use]
    pub fn stream(transport: &str, settings: symfony_redis::Settings) -> Self {
        let stream = Stream::new(settings);
        Self::transport(transport, stream.identity(), Place::Stream(stream))
    }

    /// A transport with Messenger's Doctrine bridge. Nothing is connected yet.
    #[must_use]
    pub fn messages(transport: &str, settings: symfony_doctrine::Settings) -> Self {
        let messages = Messages::new(settings);
        Self::transport(transport, messages.identity(), Place::Messages(messages))
    }

    fn transport(name: &str, identity: String, place: Place) -> Self {
        Self { connection: name.to_owned(), retry_after: None, identity, place }
    }

    /// Whether both lead to the same jobs.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// The queues that hold jobs, those of an unfinished move too.
    ///
    /// # Errors
    /// When the server is away or refuses.
    pub async fn queues(&self) -> Result<BTreeSet<String>, Fault> {
        match &self.place {
            Place::Redis { client, prefix, .. } => {
                let names = keys(client, prefix).await?;
                Ok(names.iter().map(|name| without_shelf(name).to_owned()).collect())
            }
            Place::Table { server, name } => {
                let rows = server.rows(&format!("SELECT DISTINCT queue FROM {name}"), &[]).await?;
                let names = rows.into_iter().flatten().map(Value::into_text);
                Ok(names
                    .filter_map(|queue| match queue.strip_prefix("regie:") {
                        None => Some(queue),
                        Some(rest) => rest.strip_prefix("moving:").map(str::to_owned),
                    })
                    .collect())
            }
            Place::Stream(_) | Place::Messages(_) => Ok(BTreeSet::from([self.connection.clone()])),
        }
    }

    /// The queues here in which a move that `from` began has left something that is not in its queue yet.
    ///
    /// # Errors
    /// When the server is away or refuses.
    pub async fn unfinished(&self, from: &Self) -> Result<BTreeSet<String>, Fault> {
        match &self.place {
            Place::Redis { client, prefix, .. } => {
                let tail = format!(":regie-arriving:{}", from.connection);
                let names = keys(client, prefix).await?;
                Ok(names.iter().filter_map(|name| name.strip_suffix(&tail)).map(str::to_owned).collect())
            }
            Place::Table { server, name } => {
                let rows = server.rows(&format!("SELECT DISTINCT queue FROM {name}"), &[]).await?;
                let names = rows.into_iter().flatten().map(Value::into_text);
                let head = arriving(&from.connection, "");
                Ok(names.filter_map(|queue| queue.strip_prefix(&head).map(str::to_owned)).collect())
            }
            // Its one queue is looked at in any case.
            Place::Stream(_) | Place::Messages(_) => Ok(BTreeSet::new()),
        }
    }

    /// How many jobs could be moved now, and how many are leased.
    ///
    /// # Errors
    /// When the server is away or refuses.
    pub async fn counts(&self, queue: &str) -> Result<(u64, u64), Fault> {
        match &self.place {
            Place::Redis { client, prefix, .. } => {
                let key = |tail: &str| format!("{prefix}queues:{queue}{tail}");
                let mut batch = Batch::new();
                batch.command(&[b"LLEN", key("").as_bytes()]);
                batch.command(&[b"ZCARD", key(":delayed").as_bytes()]);
                batch.command(&[b"HLEN", key(":regie-moving").as_bytes()]);
                batch.command(&[b"ZCARD", key(":reserved").as_bytes()]);
                let mut numbers = Vec::new();
                for answer in client.send(batch).await? {
                    numbers.push(number(&accepted(answer)?));
                }
                let reserved = numbers.pop().unwrap_or(0);
                Ok((numbers.iter().sum(), reserved))
            }
            Place::Table { server, name } => {
                let reserved = server.number("SUM(CASE WHEN reserved_at IS NULL THEN 0 ELSE 1 END)");
                let select = format!(
                    "SELECT {}, {reserved} FROM {name} WHERE queue IN (?, ?)",
                    server.number("COUNT(*)")
                );
                let rows = server.rows(&select, &[queue.into(), (&*moving(queue)).into()]).await?;
                let at = |n: usize| match rows.first().and_then(|row| row.get(n)) {
                    Some(Value::Number(count)) => u64::try_from(*count).unwrap_or(0),
                    _ => 0,
                };
                Ok((at(0).saturating_sub(at(1)), at(1)))
            }
            Place::Stream(stream) => stream.counts().await,
            Place::Messages(messages) => messages.counts().await,
        }
    }

    /// The key of the claim and the word in it; older movers can do nothing here any more.
    async fn claim(&self) -> Result<(String, &str), Fault> {
        if let Place::Stream(stream) = &self.place {
            return Ok((String::new(), stream.claim().await?));
        }
        let Place::Redis { client, prefix, claimed } = &self.place else { return Ok((String::new(), "")) };
        let key = format!("{prefix}regie:mover");
        let claim = async || {
            let word = word();
            let set = ask(client, |batch| {
                batch.command(&[b"SET", key.as_bytes(), word.as_bytes(), b"EX", CLAIM_S]);
            });
            set.await.map(|_| word)
        };
        let word = claimed.get_or_try_init(claim).await?;
        Ok((key, word))
    }

    /// What was taken and not confirmed.
    async fn held(&self, queue: &str) -> Result<Vec<Parcel>, Fault> {
        match &self.place {
            Place::Redis { client, prefix, .. } => {
                let key = format!("{prefix}queues:{queue}:regie-moving");
                let answer = ask(client, |batch| {
                    batch.command(&[b"HGETALL", key.as_bytes()]);
                });
                Ok(parcels(answer.await?))
            }
            Place::Table { server, name } => {
                let columns = columns(server);
                let select = format!("SELECT {columns} FROM {name} WHERE queue = ? ORDER BY id");
                let rows = server.rows(&select, &[(&*moving(queue)).into()]).await?;
                Ok(rows.into_iter().map(row_parcel).collect())
            }
            Place::Stream(stream) => stream.held().await,
            Place::Messages(messages) => messages.held().await,
        }
    }

    /// Takes a batch. Nothing must be held. The second number is of rows that were parked.
    async fn take(&self, queue: &str) -> Result<(Vec<Parcel>, u64), Fault> {
        let at = unix();
        match &self.place {
            Place::Redis { client, prefix, .. } => {
                let token = format!("{:x}", at.as_nanos());
                let second = at.as_secs().to_string();
                let ends = if self.retry_after.is_some() { "1" } else { "0" };
                let shelves = ["", ":delayed", ":reserved", ":notify", ":regie-moving"];
                let keys = shelves.map(|shelf| format!("{prefix}queues:{queue}{shelf}"));
                let (claim, word) = self.claim().await?;
                let answer = ask(client, |batch| {
                    let count = BATCH.to_string();
                    batch
                        .begin(3 + keys.len() + 6)
                        .word("EVAL")
                        .word(TAKE)
                        .word((keys.len() + 1).to_string());
                    batch
                        .words(&keys)
                        .word(&claim)
                        .word(&second)
                        .word(&count)
                        .word(&token)
                        .word(ends)
                        .word(word);
                });
                Ok((parcels(answer.await?), 0))
            }
            Place::Table { server, name } => {
                let ended = self.retry_after.map_or(-1, |span| seconds(at) - seconds(span));
                let lock = server.lock().await?;
                let mut begun = server.begin().await?;
                let select = format!(
                    "SELECT {} FROM {name} WHERE queue = ? AND (reserved_at IS NULL OR reserved_at <= ?) \
                     ORDER BY id LIMIT {BATCH}{lock}",
                    columns(server)
                );
                let rows = server.rows_in(&mut begun, &select, &[queue.into(), ended.into()]).await?;
                let (jobs, others): (Vec<Parcel>, Vec<Parcel>) =
                    rows.into_iter().map(row_parcel).partition(|parcel| is_job(&parcel.payload));
                for (ids, to) in [(ids(&jobs), moving(queue)), (ids(&others), parked_name(queue))] {
                    if !ids.is_empty() {
                        let update = format!(
                            "UPDATE {name} SET queue = ?, reserved_at = NULL WHERE id IN ({})",
                            list(&ids)
                        );
                        server.run_in(&mut begun, &update, &[(&*to).into()]).await?;
                    }
                }
                server.commit(begun).await?;
                Ok((jobs, others.len() as u64))
            }
            Place::Stream(stream) => Ok((stream.take().await?, 0)),
            Place::Messages(messages) => Ok((messages.take().await?, 0)),
        }
    }

    async fn stage(&self, from: &str, queue: &str, parcels: &[Parcel]) -> Result<(), Fault> {
        match &self.place {
            Place::Redis { client, prefix, .. } => {
                let key = format!("{prefix}queues:{queue}:regie-arriving:{from}");
                let (claim, word) = self.claim().await?;
                ask(client, |batch| {
                    batch.begin(6 + 2 * parcels.len()).word("EVAL").word(STAGE).word("2");
                    batch.word(&key).word(&claim).word(word);
                    for parcel in parcels {
                        let at = parcel.at.map_or_else(|| "-".to_owned(), |at| at.to_string());
                        // Sorted as text, rows keep their order.
                        let id = format!("{:0>20}", parcel.id);
                        batch.word(id).word(format!("{at}|{}", for_redis(parcel)));
                    }
                })
                .await?;
                Ok(())
            }
            Place::Table { server, name } => {
                let staged = arriving(from, queue);
                let mut begun = server.begin().await?;
                if let Some(wait) = server.turn() {
                    server.rows_in(&mut begun, wait, &[(&*staged).into()]).await?;
                }
                // What is held is the truth: what is staged follows it.
                let delete = format!("DELETE FROM {name} WHERE queue = ?");
                server.run_in(&mut begun, &delete, &[(&*staged).into()]).await?;
                let at = seconds(unix());
                let insert = format!(
                    "INSERT INTO {name} (queue, payload, attempts, reserved_at, available_at, created_at) \
                     VALUES (?, ?, ?, NULL, ?, ?)"
                );
                for parcel in parcels {
                    let ready = parcel.at.and_then(|ready| i64::try_from(ready).ok()).unwrap_or(at);
                    let values = [
                        (&*staged).into(),
                        (&*parcel.payload).into(),
                        i64::from(parcel.attempts).into(),
                        ready.into(),
                        at.into(),
                    ];
                    server.run_in(&mut begun, &insert, &values).await?;
                }
                server.commit(begun).await
            }
            Place::Stream(stream) => stream.stage(from, parcels).await,
            Place::Messages(messages) => messages.stage(from, parcels).await,
        }
    }

    /// Drops what is staged at the target.
    async fn confirm(&self, queue: &str, parcels: &[Parcel]) -> Result<(), Fault> {
        match &self.place {
            Place::Redis { client, prefix, .. } => {
                let key = format!("{prefix}queues:{queue}:regie-moving");
                let (claim, word) = self.claim().await?;
                ask(client, |batch| {
                    batch.begin(6 + parcels.len()).word("EVAL").word(CONFIRM).word("2");
                    batch.word(&key).word(&claim).word(word);
                    batch.words(parcels.iter().map(|parcel| &parcel.id));
                })
                .await?;
                Ok(())
            }
            Place::Table { server, name } => {
                let ids = list(&ids(parcels));
                let delete = format!("DELETE FROM {name} WHERE queue = ? AND id IN ({ids})");
                server.run(&delete, &[(&*moving(queue)).into()]).await.map(drop)
            }
            Place::Stream(stream) => stream.confirm(parcels).await,
            Place::Messages(messages) => messages.confirm(parcels).await,
        }
    }

    /// Puts what is staged into the queue.
    async fn publish(&self, from: &str, queue: &str) -> Result<u64, Fault> {
        match &self.place {
            Place::Redis { client, prefix, .. } => {
                let staged = format!(":regie-arriving:{from}");
                let keys = ["", ":delayed", ":notify", &*staged]
                    .map(|shelf| format!("{prefix}queues:{queue}{shelf}"));
                let (claim, word) = self.claim().await?;
                let answer = ask(client, |batch| {
                    batch.begin(5 + keys.len()).word("EVAL").word(PUBLISH).word((keys.len() + 1).to_string());
                    batch.words(&keys).word(&claim).word(word);
                });
                Ok(number(&answer.await?))
            }
            Place::Table { server, name } => {
                let staged = arriving(from, queue);
                let select = format!("SELECT {} FROM {name} WHERE queue = ?", server.number("id"));
                let rows = server.rows(&select, &[(&*staged).into()]).await?;
                let ids: Vec<i64> = rows.iter().flatten().map(Value::number).collect();
                if ids.is_empty() {
                    return Ok(0);
                }
                // By number: one that comes late must not touch the batch after it.
                let update =
                    format!("UPDATE {name} SET queue = ? WHERE queue = ? AND id IN ({})", list(&ids));
                server.run(&update, &[queue.into(), (&*staged).into()]).await
            }
            Place::Stream(stream) => stream.publish(from).await,
            Place::Messages(messages) => messages.publish(from).await,
        }
    }
}

/// Finishes what a move from `source` to `target` that was killed has left. How many jobs came so.
///
/// # Errors
/// When a server is away or refuses. Nothing is lost then; it can be asked again.
pub async fn finish(source: &Depot, target: &Depot, queues: (&str, &str)) -> Result<u64, Fault> {
    source.claim().await?;
    target.claim().await?;
    let held = source.held(queues.0).await?;
    if !held.is_empty() {
        target.stage(&source.connection, queues.1, &held).await?;
        source.confirm(queues.0, &held).await?;
    }
    target.publish(&source.connection, queues.1).await
}

/// Moves what waits and what is delayed from the first of `queues` at `source` to the second at `target`. `progress`
/// is told how many have come.
///
/// # Errors
/// When a server is away or refuses. Nothing is lost then; it can be asked again.
pub async fn run(
    source: &Depot,
    target: &Depot,
    queues: (&str, &str),
    mut progress: impl FnMut(u64),
) -> Result<Moved, Fault> {
    // Of a move the other way, which would stay where no worker looks.
    finish(target, source, (queues.1, queues.0)).await?;
    let mut moved = Moved { jobs: finish(source, target, queues).await?, ..Moved::default() };
    loop {
        progress(moved.jobs);
        let (parcels, parked) = source.take(queues.0).await?;
        moved.parked += parked;
        if parcels.is_empty() && parked == 0 {
            break;
        }
        moved.jobs += finish(source, target, queues).await?;
    }
    moved.reserved = source.counts(queues.0).await?.1;
    Ok(moved)
}

/// How the framework's list of failed jobs is changed.
#[derive(Debug)]
pub struct Readdressing<'a> {
    /// The database of the list.
    pub target: &'a Target,
    /// Its table.
    pub table: &'a str,
    /// The connection that jobs were of.
    pub from: &'a str,
    /// The connection that a retry is to lead to.
    pub to: &'a str,
    /// Whether that one is a Redis, whose pop script wants more of a payload.
    pub to_redis: bool,
}

/// Lets failed jobs lead to another connection, those of `queues` or without any all. How many have changed.
///
/// Each row is one write and one that has changed is not met again, so it may be asked again after a kill.
///
/// # Errors
/// When the server is away or refuses.
pub async fn readdress(asked: &Readdressing<'_>, queues: &[String]) -> Result<u64, Fault> {
    let server = Server::new(asked.target);
    let table = server.table(asked.table);
    let id = server.number("id");
    let select = format!(
        "SELECT {id}, queue, payload FROM {table} WHERE connection = ? AND id > ? ORDER BY id LIMIT {BATCH}"
    );
    let update = format!("UPDATE {table} SET connection = ?, payload = ? WHERE id = ? AND connection = ?");
    let (mut changed, mut last) = (0, -1);
    loop {
        let rows = server.rows(&select, &[asked.from.into(), last.into()]).await?;
        let is_last = rows.len() < BATCH;
        for row in rows {
            let mut row = row.into_iter();
            let mut next = || row.next().unwrap_or(Value::Null);
            last = next().number();
            let (queue, payload) = (next().into_text(), next().into_text());
            if !queues.is_empty() && !queues.contains(&queue) {
                continue;
            }
            let attempts =
                payload::read(&payload).and_then(|read| read.attempts).map_or(0, |(count, _)| count);
            let parcel = Parcel { id: last.to_string(), payload, attempts, at: None };
            let payload = if asked.to_redis { for_redis(&parcel) } else { parcel.payload };
            let values = [asked.to.into(), (&*payload).into(), last.into(), asked.from.into()];
            changed += server.run(&update, &values).await?;
        }
        if is_last {
            return Ok(changed);
        }
    }
}

/// The names of what lies under `queues:`, shelves too.
async fn keys(client: &Client, prefix: &str) -> Result<BTreeSet<String>, Fault> {
    let mut found = BTreeSet::new();
    let start = format!("{prefix}queues:");
    let pattern = format!("{}queues:*", escaped(prefix));
    let mut cursor = b"0".to_vec();
    loop {
        let answer = ask(client, |batch| {
            batch.command(&[b"SCAN", &cursor, b"MATCH", pattern.as_bytes(), b"COUNT", b"1000"]);
        });
        let Frame::Array(parts) = answer.await? else { return Ok(found) };
        let mut parts = parts.into_iter();
        cursor = bytes(parts.next());
        let names = frames(parts.next()).into_iter().map(text);
        found.extend(names.filter_map(|key| key.strip_prefix(&start).map(str::to_owned)));
        if cursor == b"0" || cursor.is_empty() {
            return Ok(found);
        }
    }
}

async fn ask(client: &Client, write: impl FnOnce(&mut Batch)) -> Result<Frame, Fault> {
    let mut batch = Batch::new();
    write(&mut batch);
    accepted(client.send(batch).await?.pop().unwrap_or(Frame::Null))
}

/// A word that nobody else has.
fn word() -> String {
    format!("{:x}-{}", unix().as_nanos(), std::process::id())
}

/// What tells databases apart.
fn database(target: &Target) -> String {
    match target {
        Target::Sqlite(path) => path.display().to_string(),
        Target::Mysql(account) | Target::Postgres(account) => {
            format!("{}:{} {}", account.host, account.port, account.database)
        }
    }
}

fn moving(queue: &str) -> String {
    format!("regie:moving:{queue}")
}

fn arriving(from: &str, queue: &str) -> String {
    format!("regie:arriving:{from}:{queue}")
}

fn parked_name(queue: &str) -> String {
    parked_queue(queue).into_text()
}

/// The queue's name of a key's, whose tail may say which of its jobs lie there.
fn without_shelf(name: &str) -> &str {
    if let Some((queue, _)) = name.split_once(":regie-") {
        return queue;
    }
    let shelves = [":delayed", ":reserved", ":notify"];
    shelves.iter().find_map(|shelf| name.strip_suffix(shelf)).unwrap_or(name)
}

/// A prefix as a pattern that means itself.
fn escaped(prefix: &str) -> String {
    let mut out = String::new();
    for c in prefix.chars() {
        if "*?[]\\^-".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn columns(server: &Server) -> String {
    let number = |column| server.number(column);
    format!("{}, {}, payload, {}", number("id"), number("attempts"), number("available_at"))
}

fn row_parcel(row: Row) -> Parcel {
    let mut row = row.into_iter();
    let mut next = || row.next().unwrap_or(Value::Null);
    let id = next().number().to_string();
    let attempts = u32::try_from(next().number()).unwrap_or(0);
    let payload = next().into_text();
    let ready = u64::try_from(next().number()).unwrap_or(0);
    Parcel { id, payload, attempts, at: Some(ready).filter(|ready| *ready > unix().as_secs()) }
}

fn ids(parcels: &[Parcel]) -> Vec<i64> {
    parcels.iter().filter_map(|parcel| parcel.id.parse().ok()).collect()
}

/// Of a hash: id, then when and what.
fn parcels(answer: Frame) -> Vec<Parcel> {
    let mut out: Vec<Parcel> = pairs(answer)
        .into_iter()
        .filter_map(|(id, value)| {
            let value = text(value);
            let (at, payload) = value.split_once('|')?;
            let attempts =
                payload::read(payload).and_then(|read| read.attempts).map_or(0, |(count, _)| count);
            let at = at.parse::<f64>().ok().map(|second| second as u64);
            Some(Parcel { id: text(id), payload: payload.to_owned(), attempts, at })
        })
        .collect();
    out.sort_by(|a, b| a.id.cmp(&b.id));
    out
}

fn pairs(answer: Frame) -> Vec<(Frame, Frame)> {
    match answer {
        Frame::Map(pairs) => pairs,
        Frame::Array(words) => {
            let mut words = words.into_iter();
            std::iter::from_fn(|| Some((words.next()?, words.next()?))).collect()
        }
        _ => Vec::new(),
    }
}

fn frames(frame: Option<Frame>) -> Vec<Frame> {
    if let Some(Frame::Array(frames)) = frame { frames } else { Vec::new() }
}

fn bytes(frame: Option<Frame>) -> Vec<u8> {
    if let Some(Frame::Bulk(bytes) | Frame::Simple(bytes)) = frame { bytes } else { Vec::new() }
}

fn text(frame: Frame) -> String {
    String::from_utf8_lossy(&bytes(Some(frame))).into_owned()
}

fn number(frame: &Frame) -> u64 {
    if let Frame::Integer(number) = frame { u64::try_from(*number).unwrap_or(0) } else { 0 }
}
