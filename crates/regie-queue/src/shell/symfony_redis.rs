//! Messenger's Redis transport: the stream and meanings of `Bridge\Redis\Transport\Connection`.
//!
//! | key | holds |
//! |---|---|
//! | `STREAM` | entries with one field, `message`: `{"body":…,"headers":…}`, in PHP's serialization by default |
//! | its group | what was delivered to whom and not acknowledged |
//! | `STREAM__queue` | sorted set: delayed messages by the unix millisecond at which they become ready |
//!
//! This runner is a consumer of the group under a name of its own, `regie-MARK`; what is pending for it is what it has
//! leased, also after a kill. Entries of consumers that are gone are claimed when they have been idle for
//! `redeliver_timeout`, as the framework does. Leases are kept alive by claiming them again.
//!
//! A message that was leased and not begun goes back to the end of the stream: a stream has no way to put it first.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use regie_resp::Frame;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::clock::{now, unix};
use super::driver::{
    Change, Driver, Fault, Listed, Place, Promise, Settlement, Shelf, Sizes, Ticked, Walked, leased_stay,
    walk_by_number,
};
use super::parked::{parked, unparked};
use super::redis::{Batch, Client, Endpoint, accepted, bulks};
use crate::desk::{Action, Leased};
use crate::mark::Mark;

/// KEYS stream, delayed; ARGV greatest length or 0, then for each message: as it is delayed, as it is to be sent.
const SEND_DUE: &str = r#"
local n = 0
for i = 2, #ARGV, 2 do
  if redis.call('zrem', KEYS[2], ARGV[i]) == 1 then
    if ARGV[1] == '0' then
      redis.call('xadd', KEYS[1], '*', 'message', ARGV[i + 1])
    else
      redis.call('xadd', KEYS[1], 'maxlen', '~', ARGV[1], '*', 'message', ARGV[i + 1])
    end
    n = n + 1
  end
end
return n
"#;

/// KEYS stream, delayed, parked; ARGV group, then for each lease: entry, what to do, its value, and a moment.
const SETTLE: &str = r#"
for i = 2, #ARGV, 4 do
  if redis.call('xack', KEYS[1], ARGV[1], ARGV[i]) == 1 then
    redis.call('xdel', KEYS[1], ARGV[i])
    if ARGV[i + 1] == 'return' then
      redis.call('xadd', KEYS[1], '*', 'message', ARGV[i + 2])
    elseif ARGV[i + 1] == 'release' then
      redis.call('zadd', KEYS[2], ARGV[i + 3], ARGV[i + 2])
    else
      redis.call('rpush', KEYS[3], ARGV[i + 2])
    end
  end
end
"#;

/// KEYS stream; ARGV group, then entries. One that was delivered meanwhile is its consumer's.
const DROP: &str = r#"
local n = 0
for i = 2, #ARGV do
  if #redis.call('xpending', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1) == 0 then
    n = n + redis.call('xdel', KEYS[1], ARGV[i])
  end
end
return n
"#;

/// KEYS stream, delayed; ARGV group.
const CLEAR: &str = r#"
local size = redis.call('xlen', KEYS[1]) + redis.call('zcard', KEYS[2])
redis.call('del', KEYS[1], KEYS[2])
redis.call('xgroup', 'create', KEYS[1], ARGV[1], '0', 'mkstream')
return size
"#;

/// Delayed messages that one look sends; when there are more, the next look follows at once.
const MOVED_MAX: usize = 500;

/// How long to wait on the server for messages before asking again.
const WAIT_MS: &str = "30000";

/// How a transport is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server.
    pub endpoint: Endpoint,
    /// `stream`.
    pub stream: String,
    /// The key of delayed messages.
    pub delayed: String,
    /// `group`.
    pub group: String,
    /// `delete_after_ack`.
    pub delete_after_ack: bool,
    /// `stream_max_entries`; 0 for no limit.
    pub max_entries: u64,
    /// `redeliver_timeout`.
    pub redeliver_timeout: Duration,
    /// `claim_interval`.
    pub claim_interval: Duration,
    /// Whether values are written in PHP's serialization, which is the framework's default.
    pub serialized: bool,
    /// The runner's mark.
    pub mark: Mark,
}

/// See the module.
#[derive(Debug)]
pub struct SymfonyRedis {
    settings: Settings,
    consumer: String,
    client: Client,
    /// Commands that wait in the server hold up everything behind them.
    waiter: Client,
    /// When entries of consumers that are gone are looked for again.
    claim_at: Mutex<Option<Instant>>,
}

/// A delayed message; the parts stay as PHP wrote them.
#[derive(Deserialize)]
struct Delayed<'a> {
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
}

impl SymfonyRedis {
    /// A driver for one transport. The connection is made when it is first needed.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            consumer: format!("regie-{}", settings.mark),
            client: Client::new(settings.endpoint.clone()),
            waiter: Client::new(settings.endpoint.clone()),
            claim_at: Mutex::default(),
            settings,
        }
    }

    fn parked_key(&self) -> String {
        format!("regie:parked:{}", self.settings.stream)
    }

    /// The answer to the one command of `batch`; the group is made where it is missing, as the framework does.
    async fn one(&self, batch: impl Fn() -> Batch) -> Result<Frame, Fault> {
        match self.client.one(batch()).await {
            Err(Fault::Refused(why)) if why.starts_with("NOGROUP") || why.contains("no such key") => {
                let mut create = Batch::new();
                let Settings { stream, group, .. } = &self.settings;
                create.begin(6).words(["XGROUP", "CREATE", stream, group, "0", "MKSTREAM"]);
                // Somebody else may have made it meanwhile.
                self.client.send(create).await?;
                self.client.one(batch()).await
            }
            answer => answer,
        }
    }

    /// New entries, or with `0` in place of `>` those that are pending for us.
    async fn read(&self, from: &str, count: usize) -> Result<Vec<Leased>, Fault> {
        let Settings { stream, group, .. } = &self.settings;
        let count = count.to_string();
        let frame = self
            .one(|| {
                let mut batch = Batch::new();
                let words =
                    ["XREADGROUP", "GROUP", group, &self.consumer, "COUNT", &count, "STREAMS", stream, from];
                batch.begin(words.len()).words(words);
                batch
            })
            .await?;
        match frame {
            Frame::Null => Ok(Vec::new()),
            Frame::Array(streams) => match streams.into_iter().next() {
                Some(Frame::Array(mut parts)) => self.entries(parts.pop()).await,
                _ => Err(Fault::Strange("a stream was expected")),
            },
            _ => Err(Fault::Strange("streams were expected")),
        }
    }

    /// Entries as leases. One that was deleted while it was pending is acknowledged, so that it does not come again.
    async fn entries(&self, list: Option<Frame>) -> Result<Vec<Leased>, Fault> {
        let Some(Frame::Array(entries)) = list else { return Err(Fault::Strange("entries were expected")) };
        let (mut out, mut gone) = (Vec::with_capacity(entries.len()), Vec::new());
        for entry in entries {
            let Frame::Array(entry) = entry else { return Err(Fault::Strange("an entry was expected")) };
            match <[Frame; 2]>::try_from(entry) {
                Ok([Frame::Bulk(id), Frame::Array(fields)]) => out.push(leased(id, fields)),
                Ok([Frame::Bulk(id), Frame::Null]) => gone.push(id),
                _ => return Err(Fault::Strange("an entry was expected")),
            }
        }
        if !gone.is_empty() {
            let mut batch = Batch::new();
            batch
                .begin(3 + gone.len())
                .words(["XACK", &self.settings.stream, &self.settings.group])
                .words(&gone);
            self.client.send(batch).await?;
        }
        Ok(out)
    }

    /// Whether it is time to look for entries of consumers that are gone.
    fn may_claim(&self) -> bool {
        let mut claim_at = self.claim_at.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if claim_at.is_some_and(|at| now() < at) {
            return false;
        }
        *claim_at = Some(now() + self.settings.claim_interval);
        true
    }

    /// Entries that their consumers have left for too long.
    async fn claim(&self, count: usize) -> Result<Vec<Leased>, Fault> {
        let Settings { stream, group, .. } = &self.settings;
        let idle = self.settings.redeliver_timeout.as_millis().to_string();
        let count = count.to_string();
        let frame = self
            .one(|| {
                let mut batch = Batch::new();
                let words = ["XAUTOCLAIM", stream, group, &self.consumer, &idle, "0-0", "COUNT", &count];
                batch.begin(words.len()).words(words);
                batch
            })
            .await?;
        let Frame::Array(parts) = frame else { return Err(Fault::Strange("claimed entries were expected")) };
        self.entries(parts.into_iter().nth(1)).await
    }

    /// Sends the delayed messages whose time has come. How many.
    async fn send_due(&self) -> Result<usize, Fault> {
        let Settings { stream, delayed, .. } = &self.settings;
        let (at, most) = (unix().as_millis().to_string(), MOVED_MAX.to_string());
        let due = self
            .one(|| {
                let mut batch = Batch::new();
                batch.begin(7).words(["ZRANGEBYSCORE", delayed, "-inf", &at, "LIMIT", "0", &most]);
                batch
            })
            .await?;
        let due = bulks(due)?;
        if due.is_empty() {
            return Ok(0);
        }
        let mut batch = Batch::new();
        batch.begin(6 + 2 * due.len()).words(["EVAL", SEND_DUE, "2", stream, delayed]);
        batch.word(self.settings.max_entries.to_string());
        for message in &due {
            batch.word(message).word(self.value(&undelayed(message)));
        }
        for frame in self.client.send(batch).await? {
            accepted(frame)?;
        }
        Ok(due.len())
    }

    /// A message as the transport's client writes it into a field.
    fn value(&self, message: &[u8]) -> Vec<u8> {
        if !self.settings.serialized {
            return message.to_vec();
        }
        serialized(message)
    }

    async fn lengths(&self) -> Result<Sizes, Fault> {
        let Settings { stream, group, delayed, .. } = &self.settings;
        let groups = self
            .one(|| {
                let mut batch = Batch::new();
                batch.begin(3).words(["XINFO", "GROUPS", stream]);
                batch
            })
            .await?;
        let mut batch = Batch::new();
        batch.begin(2).words(["XLEN", stream]);
        batch.begin(2).words(["ZCARD", delayed]);
        batch.begin(2).words(["LLEN", &self.parked_key()]);
        let counts =
            self.client.send(batch).await?.into_iter().map(accepted).collect::<Result<Vec<_>, _>>()?;
        let [length, delayed, parked] = counts.as_slice() else {
            return Err(Fault::Strange("three numbers were expected"));
        };
        let own = group_fields(groups, group);
        let reserved = own.as_ref().and_then(|own| own.number("pending")).unwrap_or(0);
        // Redis tells the lag from 7.0 on, and not after entries were deleted in the middle.
        let lag = own.as_ref().and_then(|own| own.number("lag"));
        let waiting = lag.unwrap_or_else(|| number(length).saturating_sub(reserved));
        Ok(Sizes { waiting, delayed: number(delayed), reserved, parked: number(parked), oldest_s: None })
    }

    /// What stands on a shelf that is no stream, by number: one reading, so that each handle has its own message.
    async fn places(&self, shelf: Shelf, skip: usize, count: usize) -> Result<Vec<Place>, Fault> {
        let (first, last) = (skip.to_string(), (skip + count).saturating_sub(1).to_string());
        let parked = self.parked_key();
        let words = || {
            let mut batch = Batch::new();
            if shelf == Shelf::Parked {
                batch.begin(4).words(["LRANGE", &parked, &first, &last]);
            } else {
                batch.begin(5).words(["ZRANGE", &self.settings.delayed, &first, &last, "WITHSCORES"]);
            }
            batch
        };
        let mut found = bulks(self.one(words).await?)?.into_iter();
        if shelf == Shelf::Parked {
            return Ok(found.map(|kept| (Bytes::from(kept.clone()), unparked(&kept))).collect());
        }
        let mut places = Vec::new();
        while let (Some(message), Some(score)) = (found.next(), found.next()) {
            let at = std::str::from_utf8(&score).ok().and_then(|score| score.parse::<f64>().ok());
            let at = at.map(|ms| (ms / 1000.0) as u64);
            let listed = Listed { payload: undelayed(&message).into(), at, reason: None };
            places.push((Bytes::from(message), Some(listed)));
        }
        Ok(places)
    }

    /// The entries between two of them.
    async fn range(&self, start: &str, end: &str, most: usize) -> Result<Vec<Leased>, Fault> {
        let most = most.to_string();
        let found = self
            .one(|| {
                let mut batch = Batch::new();
                batch.begin(6).words(["XRANGE", &self.settings.stream, start, end, "COUNT", &most]);
                batch
            })
            .await?;
        self.entries(Some(found)).await
    }

    /// The last entry that was delivered to anybody.
    async fn last_delivered(&self) -> Result<String, Fault> {
        let groups = self
            .one(|| {
                let mut batch = Batch::new();
                batch.begin(3).words(["XINFO", "GROUPS", &self.settings.stream]);
                batch
            })
            .await?;
        let own = group_fields(groups, &self.settings.group);
        Ok(own.and_then(|own| own.text("last-delivered-id")).unwrap_or_else(|| "0-0".to_owned()))
    }

    async fn settle_all(&self, leases: &[Settlement]) -> Result<(), Fault> {
        let Settings { stream, group, delayed, .. } = &self.settings;
        let mut batch = Batch::new();
        let acks: Vec<&Bytes> = leases
            .iter()
            .filter(|lease| matches!(lease.action, Action::Ack))
            .map(|lease| &lease.receipt)
            .collect();
        if !acks.is_empty() {
            batch.begin(3 + acks.len()).words(["XACK", stream, group]).words(&acks);
            if self.settings.delete_after_ack {
                batch.begin(2 + acks.len()).words(["XDEL", stream]).words(&acks);
            }
        }
        let others: Vec<&Settlement> =
            leases.iter().filter(|lease| !matches!(lease.action, Action::Ack)).collect();
        if !others.is_empty() {
            let aside = self.parked_key();
            batch.begin(7 + 4 * others.len()).words(["EVAL", SETTLE, "3", stream, delayed, &aside, group]);
            for lease in others {
                let message: &[u8] = &lease.payload;
                let (what, value, at) = match lease.action {
                    Action::Release(delay) | Action::PutOff(delay) => {
                        ("release", message.to_vec(), (unix() + delay).as_millis().to_string())
                    }
                    Action::Park(why) => ("park", parked(message, why), String::new()),
                    Action::Return | Action::Ack => ("return", self.value(message), String::new()),
                };
                batch.word(&lease.receipt).word(what).word(value).word(at);
            }
        }
        for frame in self.client.send(batch).await? {
            accepted(frame)?;
        }
        Ok(())
    }
}

/// A group's line of XINFO GROUPS.
struct Group(Vec<Frame>);

impl Group {
    fn find(&self, name: &str) -> Option<&Frame> {
        let at = self.0.iter().step_by(2).position(|key| is(key, name))?;
        self.0.get(2 * at + 1)
    }

    fn number(&self, name: &str) -> Option<u64> {
        match self.find(name)? {
            Frame::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.find(name)? {
            Frame::Bulk(text) => String::from_utf8(text.clone()).ok(),
            _ => None,
        }
    }
}

fn is(frame: &Frame, text: &str) -> bool {
    matches!(frame, Frame::Bulk(bytes) | Frame::Simple(bytes) if bytes == text.as_bytes())
}

fn group_fields(groups: Frame, name: &str) -> Option<Group> {
    let Frame::Array(groups) = groups else { return None };
    groups.into_iter().find_map(|group| {
        let Frame::Array(fields) = group else { return None };
        let group = Group(fields);
        group.find("name").is_some_and(|found| is(found, name)).then_some(group)
    })
}

fn number(frame: &Frame) -> u64 {
    match frame {
        Frame::Integer(number) => u64::try_from(*number).unwrap_or(0),
        _ => 0,
    }
}

/// An entry as a lease. Its payload is the message without PHP's serialization around it.
fn leased(id: Vec<u8>, fields: Vec<Frame>) -> Leased {
    let at = fields.iter().step_by(2).position(|key| is(key, "message"));
    let value = match at.and_then(|at| fields.into_iter().nth(2 * at + 1)) {
        Some(Frame::Bulk(value)) => Some(value),
        _ => None,
    };
    let broken = value.is_none().then_some("the entry has no message");
    let payload = plain(value.unwrap_or_default());
    let headers = serde_json::from_slice::<serde_json::Value>(&payload).ok();
    let class = headers.as_ref().and_then(|read| read["headers"]["type"].as_str()).map(str::to_owned);
    let sent = std::str::from_utf8(&id).ok().and_then(|id| id.split('-').next()?.parse().ok());
    Leased {
        id: String::from_utf8_lossy(&id).into_owned(),
        receipt: Bytes::from(id),
        payload: Bytes::from(payload),
        attempts: 1,
        class,
        timeout: None,
        waited: sent.map(|ms| unix().saturating_sub(Duration::from_millis(ms))),
        broken,
    }
}

/// A text in PHP's serialization.
pub(super) fn serialized(message: &[u8]) -> Vec<u8> {
    let mut out = format!("s:{}:\"", message.len()).into_bytes();
    out.extend_from_slice(message);
    out.extend_from_slice(b"\";");
    out
}

/// `s:5:"hello";` is `hello`; everything else is itself.
pub(super) fn plain(value: Vec<u8>) -> Vec<u8> {
    let inner = value.strip_prefix(b"s:").and_then(|rest| {
        let colon = rest.iter().position(|byte| *byte == b':')?;
        let length: usize = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
        let inner = rest[colon + 1..].strip_prefix(b"\"")?.strip_suffix(b"\";")?;
        (inner.len() == length).then(|| inner.to_vec())
    });
    inner.unwrap_or(value)
}

/// A delayed message as it is sent: without what made it unique among the delayed ones.
pub(super) fn undelayed(message: &[u8]) -> Vec<u8> {
    let read: Option<Delayed<'_>> = serde_json::from_slice(message).ok();
    let Some(Delayed { body: Some(body), headers }) = read else {
        // As the framework does with what it has not written: the whole is the body.
        let body = serde_json::Value::from(String::from_utf8_lossy(message));
        return format!("{{\"body\":{body},\"headers\":[]}}").into_bytes();
    };
    let headers = headers.map_or("[]", RawValue::get);
    format!("{{\"body\":{},\"headers\":{headers}}}", body.get()).into_bytes()
}

impl Driver for SymfonyRedis {
    fn lease<'a>(&'a self, _queue: &'a str, count: usize) -> Promise<'a, Vec<Leased>> {
        Box::pin(async move {
            let mut leased = if self.may_claim() { self.claim(count).await? } else { Vec::new() };
            if leased.len() < count {
                leased.extend(self.read(">", count - leased.len()).await?);
            }
            Ok(leased)
        })
    }

    fn settle<'a>(&'a self, _queue: &'a str, leases: Vec<Settlement>) -> Promise<'a, ()> {
        Box::pin(async move { self.settle_all(&leases).await })
    }

    fn extend<'a>(&'a self, _queue: &'a str, receipts: Vec<Bytes>) -> Promise<'a, ()> {
        Box::pin(async move {
            let Settings { stream, group, .. } = &self.settings;
            let mut batch = Batch::new();
            batch
                .begin(6 + receipts.len())
                .words(["XCLAIM", stream, group, &self.consumer, "0"])
                .words(&receipts);
            batch.word("JUSTID");
            self.client.send(batch).await?.into_iter().try_for_each(|frame| accepted(frame).map(drop))
        })
    }

    fn reclaim<'a>(&'a self, _queue: &'a str) -> Promise<'a, Vec<Leased>> {
        const MOST: usize = 10_000;
        Box::pin(self.read("0", MOST))
    }

    fn tick<'a>(&'a self, _queue: &'a str) -> Promise<'a, Ticked> {
        Box::pin(async move {
            let moved = self.send_due().await?;
            let mut sizes = self.lengths().await?;
            // Entries of consumers that are gone count as work when it is time to look for them.
            let due = self.claim_at.lock().is_ok_and(|at| at.is_none_or(|at| now() >= at));
            sizes.waiting += u64::from(due && sizes.reserved > 0);
            Ok(Ticked { sizes, more: moved >= MOVED_MAX })
        })
    }

    fn wait<'a>(&'a self, _queues: &'a [String]) -> Promise<'a, Option<usize>> {
        Box::pin(async move {
            // A plain look at what comes after the last entry that was delivered: it takes nothing.
            let last = self.last_delivered().await?;
            let mut batch = Batch::new();
            batch.begin(8).words([
                "XREAD",
                "COUNT",
                "1",
                "BLOCK",
                WAIT_MS,
                "STREAMS",
                &self.settings.stream,
                &last,
            ]);
            let frame = self.waiter.send_blocking(batch).await?.pop();
            let found = accepted(frame.ok_or(Fault::Strange("no answer"))?)?;
            Ok((found != Frame::Null).then_some(0))
        })
    }

    fn heartbeat(&self) -> Option<Duration> {
        // Three chances before the message is taken for lost.
        Some((self.settings.redeliver_timeout / 3).max(Duration::from_millis(300)))
    }

    fn list<'a>(
        &'a self,
        _queue: &'a str,
        shelf: Shelf,
        skip: usize,
        count: usize,
    ) -> Promise<'a, Vec<Listed>> {
        Box::pin(async move {
            match shelf {
                Shelf::Waiting | Shelf::Reserved => {
                    // A stream cannot be entered in its middle by number: what is skipped is read too.
                    let from = self.last_delivered().await?;
                    let (start, end) = match shelf {
                        Shelf::Waiting => (format!("({from}"), "+".to_owned()),
                        _ => ("-".to_owned(), from),
                    };
                    let listed = |job: Leased| Listed { payload: job.payload, at: None, reason: None };
                    let found = self.range(&start, &end, skip + count).await?;
                    Ok(found.into_iter().skip(skip).map(listed).collect())
                }
                Shelf::Delayed | Shelf::Parked => {
                    let places = self.places(shelf, skip, count).await?;
                    Ok(places.into_iter().filter_map(|(_, listed)| listed).collect())
                }
            }
        })
    }

    fn walk<'a>(
        &'a self,
        _queue: &'a str,
        shelf: Shelf,
        from: Option<String>,
        count: usize,
    ) -> Promise<'a, Walked> {
        Box::pin(async move {
            if matches!(shelf, Shelf::Delayed | Shelf::Parked) {
                let read = move |skip| -> Promise<'a, _> { Box::pin(self.places(shelf, skip, count)) };
                return walk_by_number(from, count, read).await;
            }
            let last = self.last_delivered().await?;
            let (start, end) = match (shelf, from) {
                (Shelf::Waiting, None) => (format!("({last}"), "+".to_owned()),
                (Shelf::Waiting, Some(from)) => (format!("({from}"), "+".to_owned()),
                (_, None) => ("-".to_owned(), last),
                (_, Some(from)) => (format!("({from}"), last),
            };
            let found = self.range(&start, &end, count).await?;
            let next = (found.len() == count).then(|| found.last().map(|job| job.id.clone())).flatten();
            let listed = |job: Leased| (job.receipt, Listed { payload: job.payload, at: None, reason: None });
            Ok(Walked { jobs: found.into_iter().map(listed).collect(), next })
        })
    }

    fn change<'a>(
        &'a self,
        _queue: &'a str,
        shelf: Shelf,
        _from: Option<String>,
        jobs: Vec<Bytes>,
        change: Change,
    ) -> Promise<'a, u64> {
        Box::pin(async move {
            let Settings { stream, delayed, group, .. } = &self.settings;
            let (runs, parked) = (change == Change::Ready, self.parked_key());
            let words = || {
                let mut batch = Batch::new();
                match shelf {
                    Shelf::Waiting => {
                        batch.begin(5 + jobs.len()).words(["EVAL", DROP, "1", stream, group]).words(&jobs);
                    }
                    Shelf::Delayed if runs => {
                        batch.begin(6 + 2 * jobs.len()).words(["EVAL", SEND_DUE, "2", stream, delayed, "0"]);
                        for job in &jobs {
                            batch.word(job).word(self.value(&undelayed(job)));
                        }
                    }
                    Shelf::Delayed => {
                        batch.begin(2 + jobs.len()).words(["ZREM", delayed]).words(&jobs);
                    }
                    Shelf::Parked | Shelf::Reserved => {
                        for job in &jobs {
                            if let Some(listed) = unparked(job).filter(|_| runs) {
                                batch.begin(5).words(["XADD", stream, "*", "message"]);
                                batch.word(self.value(&listed.payload));
                            }
                            batch.begin(4).words(["LREM", &parked, "1"]).word(job);
                        }
                    }
                }
                batch
            };
            match shelf {
                Shelf::Reserved => Err(leased_stay()),
                Shelf::Waiting if runs => Ok(jobs.len() as u64),
                Shelf::Parked => {
                    let answers = self.client.send(words()).await?;
                    answers.into_iter().try_for_each(|frame| accepted(frame).map(drop))?;
                    Ok(jobs.len() as u64)
                }
                Shelf::Waiting | Shelf::Delayed => Ok(number(&self.one(words).await?)),
            }
        })
    }

    fn clear<'a>(&'a self, _queue: &'a str) -> Promise<'a, u64> {
        Box::pin(async move {
            let Settings { stream, delayed, group, .. } = &self.settings;
            let words = || {
                let mut batch = Batch::new();
                batch.begin(6).words(["EVAL", CLEAR, "2", stream, delayed, group]);
                batch
            };
            Ok(number(&self.one(words).await?))
        })
    }

    fn sizes<'a>(&'a self, _queue: &'a str) -> Promise<'a, Sizes> {
        Box::pin(async move {
            let sizes = self.lengths().await?;
            if sizes.waiting == 0 {
                return Ok(sizes);
            }
            let head = self.range(&format!("({}", self.last_delivered().await?), "+", 1).await?;
            let waited = head.into_iter().next().and_then(|head| head.waited);
            Ok(Sizes { oldest_s: waited.map(|waited| waited.as_secs()), ..sizes })
        })
    }

    fn unpark<'a>(&'a self, _queue: &'a str, id: Option<String>, retry: bool) -> Promise<'a, u64> {
        Box::pin(async move {
            if id.is_some() {
                let why = "a message has no id that it keeps: retry or forget all that is parked".to_owned();
                return Err(Fault::Refused(why));
            }
            let key = self.parked_key();
            let mut count = 0;
            loop {
                let words = || {
                    let mut batch = Batch::new();
                    batch.begin(3).words(["LINDEX", &key, "0"]);
                    batch
                };
                let Frame::Bulk(kept) = self.one(words).await? else { return Ok(count) };
                let mut batch = Batch::new();
                if let Some(job) = unparked(&kept).filter(|_| retry) {
                    let value = self.value(&job.payload);
                    batch.begin(5).words(["XADD", &self.settings.stream, "*", "message"]).word(value);
                }
                batch.begin(4).words(["LREM", &key, "1"]).word(&kept);
                for frame in self.client.send(batch).await? {
                    accepted(frame)?;
                }
                count += 1;
            }
        })
    }

    fn push<'a>(&'a self, _queue: &'a str, payloads: Vec<Bytes>) -> Promise<'a, ()> {
        Box::pin(async move {
            let mut batch = Batch::new();
            for payload in &payloads {
                batch
                    .begin(5)
                    .words(["XADD", &self.settings.stream, "*", "message"])
                    .word(self.value(payload));
            }
            self.client.send(batch).await?.into_iter().try_for_each(|frame| accepted(frame).map(drop))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn php_s_serialization_is_taken_off() {
        for (value, expected) in
            [("s:5:\"hello\";", "hello"), ("s:4:\"hello\";", "s:4:\"hello\";"), ("{}", "{}"), ("s:", "s:")]
        {
            assert_eq!(plain(value.as_bytes().to_vec()), expected.as_bytes(), "{value}");
        }
    }

    #[test]
    fn a_delayed_message_is_sent_as_it_would_have_been() {
        for (delayed, expected) in [
            (r#"{"body":"O:1:\/é","headers":[],"uniqid":"65"}"#, r#"{"body":"O:1:\/é","headers":[]}"#),
            (
                r#"{"body":"b","headers":{"type":"A\\B"},"uniqid":"65"}"#,
                r#"{"body":"b","headers":{"type":"A\\B"}}"#,
            ),
            (r#"{"other":1}"#, r#"{"body":"{\"other\":1}","headers":[]}"#),
        ] {
            assert_eq!(String::from_utf8(undelayed(delayed.as_bytes())).unwrap(), expected);
        }
    }
}
