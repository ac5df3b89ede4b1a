//! Laravel's `redis` driver: the keys and meanings of `Illuminate\Queue\RedisQueue`.
//!
//! | key | holds |
//! |---|---|
//! | `queues:NAME` | list: payloads that wait; in at the tail, out at the head |
//! | `queues:NAME:delayed` | sorted set: payload by the unix second at which it becomes ready |
//! | `queues:NAME:reserved` | sorted set: payload with its attempts counted up, by the second at which the lease ends |
//! | `queues:NAME:notify` | list: a `1` for each job, to wait on |
//!
//! What differs from the framework's own scripts is how many jobs one call moves and how attempts are counted up. The
//! framework sends each payload through cjson; here the number is changed in its place when it stands at the very
//! end, where `RedisQueue` writes it, and cjson is the fallback. Both spell the same job, so either side's workers
//! take over from the other at any moment.
//!
//! Delayed jobs become ready at whole seconds, since that is what their scores are; so one look at each whole second
//! is exactly on time, and needs no word from the application.

use std::time::Duration;

use bytes::Bytes;
use regie_resp::Frame;

use super::clock::unix;
use super::driver::{
    Change, Driver, Fault, Listed, Place, Promise, Settlement, Shelf, Sizes, Ticked, Walked, leased_stay,
    walk_by_number,
};
use super::parked::{parked, unparked};
use super::redis::{Batch, Client, Endpoint, accepted, bulks};
use crate::desk::{Action, Leased};
use crate::mark::Mark;
use crate::payload;

/// KEYS queue, reserved, notify; ARGV score, count. Returns for each job: payload, and the reserved payload when it is
/// not the payload with its last number counted up; a payload without attempts is leased as it is and told as broken.
///
/// Régie's own store knows this text by its digest and does the same without Lua: who changes it changes the digest in
/// regie-script, too, where a test compares them.
const LEASE: &str = include_str!("lease.lua");

/// KEYS queue, reserved, notify; ARGV mark, then reserved and original payload of each job, the first one first.
const RETURN: &str = r#"
local n = 0
for i = #ARGV - 1, 2, -2 do
  local score = redis.call('zscore', KEYS[2], ARGV[i])
  if score and math.fmod(tonumber(score), 1) * 1048576 == tonumber(ARGV[1]) then
    redis.call('zrem', KEYS[2], ARGV[i])
    redis.call('lpush', KEYS[1], ARGV[i + 1])
    redis.call('rpush', KEYS[3], 1)
    n = n + 1
  end
end
return n
"#;

/// KEYS delayed, reserved; ARGV mark, then for each job: when it is ready, its reserved and original payload.
const PUT_OFF: &str = r#"
for i = 2, #ARGV, 3 do
  local score = redis.call('zscore', KEYS[2], ARGV[i + 1])
  if score and math.fmod(tonumber(score), 1) * 1048576 == tonumber(ARGV[1]) then
    redis.call('zrem', KEYS[2], ARGV[i + 1])
    redis.call('zadd', KEYS[1], ARGV[i], ARGV[i + 2])
  end
end
"#;

/// KEYS delayed, reserved; ARGV for each job: when it is ready, its reserved payload.
const RELEASE: &str = r#"
local n = 0
for i = 1, #ARGV, 2 do
  if redis.call('zrem', KEYS[2], ARGV[i + 1]) == 1 then
    redis.call('zadd', KEYS[1], ARGV[i], ARGV[i + 1])
    n = n + 1
  end
end
return n
"#;

/// KEYS reserved, parked; ARGV for each job: its reserved payload, what is kept of it.
const PARK: &str = r#"
for i = 1, #ARGV, 2 do
  if redis.call('zrem', KEYS[1], ARGV[i]) == 1 then redis.call('rpush', KEYS[2], ARGV[i + 1]) end
end
"#;

/// KEYS queue, delayed, reserved, notify; ARGV now, limit, whether leases end, mark. Returns waiting, delayed, reserved,
/// moved. Leases with the runner's own mark do not end: when the server was away for longer than they last, its workers
/// have the jobs, or have done them.
const TICK: &str = r#"
local moved = 0
local function others()
  local found = redis.call('zrangebyscore', KEYS[3], '-inf', ARGV[1], 'withscores', 'limit', 0, ARGV[2])
  local jobs = {}
  for i = 1, #found, 2 do
    if math.fmod(tonumber(found[i + 1]), 1) * 1048576 ~= tonumber(ARGV[4]) then jobs[#jobs + 1] = found[i] end
  end
  return jobs
end
local function move(from)
  local jobs
  if from == KEYS[3] then jobs = others()
  else jobs = redis.call('zrangebyscore', from, '-inf', ARGV[1], 'limit', 0, ARGV[2]) end
  for i = 1, #jobs, 100 do
    local last = math.min(i + 99, #jobs)
    redis.call('zrem', from, unpack(jobs, i, last))
    redis.call('rpush', KEYS[1], unpack(jobs, i, last))
    local ones = {}
    for j = i, last do ones[#ones + 1] = 1 end
    redis.call('rpush', KEYS[4], unpack(ones))
  end
  moved = moved + #jobs
end
move(KEYS[2])
if ARGV[3] == '1' then move(KEYS[3]) end
return {redis.call('llen', KEYS[1]), redis.call('zcard', KEYS[2]), redis.call('zcard', KEYS[3]), moved}
"#;

/// KEYS parked, queue, notify; ARGV what is kept, and the payload when it goes back.
const UNPARK: &str = r#"
if redis.call('lrem', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
if ARGV[2] then
  redis.call('rpush', KEYS[2], ARGV[2])
  redis.call('rpush', KEYS[3], 1)
end
return 1
"#;

/// So many jobs before the place where one was met, one is looked for again.
const SLACK: &str = "5000";

/// KEYS queue, notify; ARGV where they were met, how many to look at, then jobs to drop. The list has become shorter at its
/// head since, so one looks from a little before on; what is not met is not there any more, or is met next time.
const DROP: &str = r#"
local wanted, n = {}, 0
for i = 3, #ARGV do wanted[ARGV[i]] = (wanted[ARGV[i]] or 0) + 1 end
local length, all = redis.call('llen', KEYS[1]), #ARGV - 2
local at = math.max(0, tonumber(ARGV[1]) - tonumber(ARGV[2]))
local last = math.min(length, tonumber(ARGV[1]) + 2 * tonumber(ARGV[2]))
local gone = 'regie:dropped'
while at < last and n < all do
  for i, job in ipairs(redis.call('lrange', KEYS[1], at, math.min(at + 999, last - 1))) do
    if wanted[job] and wanted[job] > 0 then
      wanted[job] = wanted[job] - 1
      redis.call('lset', KEYS[1], at + i - 1, gone)
      n = n + 1
    end
  end
  at = at + 1000
end
if n > 0 then
  -- From the nearer end.
  redis.call('lrem', KEYS[1], at > length / 2 and -n or n, gone)
  for _ = 1, n do redis.call('lpop', KEYS[2]) end
end
return n
"#;

/// KEYS delayed, queue, notify; ARGV whether they run, then jobs.
const DELAYED: &str = r#"
local n = 0
for i = 2, #ARGV do
  if redis.call('zrem', KEYS[1], ARGV[i]) == 1 then
    n = n + 1
    if ARGV[1] == '1' then
      redis.call('rpush', KEYS[2], ARGV[i])
      redis.call('rpush', KEYS[3], 1)
    end
  end
end
return n
"#;

const CLEAR: &str = r#"
local size = redis.call('llen', KEYS[1]) + redis.call('zcard', KEYS[2]) + redis.call('zcard', KEYS[3])
redis.call('del', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
return size
"#;

/// Jobs whose time has come that one look moves; when there are more, the next look follows at once.
const MOVED_MAX: u64 = 1_000;

/// How long to wait on the server for work before asking again.
const WAIT_S: &str = "30";

/// The lease of a connection whose `retry_after` is null: such leases never end by themselves.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How a connection is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server.
    pub endpoint: Endpoint,
    /// What the client puts before each key.
    pub prefix: String,
    /// How long a lease lasts. None: for ever.
    pub retry_after: Option<Duration>,
    /// The runner's mark.
    pub mark: Mark,
}

/// See the module.
#[derive(Debug)]
pub struct LaravelRedis {
    settings: Settings,
    client: Client,
    /// Commands that wait in the server hold up everything behind them.
    waiter: Client,
}

impl LaravelRedis {
    /// A driver for one connection, on the current runtime.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let client = Client::new(settings.endpoint.clone());
        let waiter = Client::new(settings.endpoint.clone());
        Self { settings, client, waiter }
    }

    fn key(&self, queue: &str, suffix: &str) -> String {
        format!("{}queues:{queue}{suffix}", self.settings.prefix)
    }

    fn parked_key(&self, queue: &str) -> String {
        format!("{}regie:parked:{queue}", self.settings.prefix)
    }

    /// What is parked, by number.
    async fn parked_places(&self, queue: &str, skip: usize, count: usize) -> Result<Vec<Place>, Fault> {
        let (key, first) = (self.parked_key(queue), skip.to_string());
        let last = (skip + count).saturating_sub(1).to_string();
        let mut batch = Batch::new();
        batch.command(&[b"LRANGE", key.as_bytes(), first.as_bytes(), last.as_bytes()]);
        let kept = bulks(self.client.one(batch).await?)?;
        Ok(kept.into_iter().map(|kept| (Bytes::from(kept.clone()), unparked(&kept))).collect())
    }

    fn lease_end(&self) -> String {
        let end = unix() + self.settings.retry_after.unwrap_or(NEVER);
        self.settings.mark.score(end.as_secs()).to_string()
    }
}

fn script(batch: &mut Batch, body: &str, keys: &[&str], arguments: usize) {
    batch.begin(3 + keys.len() + arguments).word("EVAL").word(body).word(keys.len().to_string());
    for key in keys {
        batch.word(key);
    }
}

/// A job as it came out of the queue.
fn leased(original: Vec<u8>, told: &[u8]) -> Leased {
    let text = std::str::from_utf8(&original);
    let read = text.ok().and_then(payload::read);
    let attempts = read.as_ref().and_then(|read| read.attempts.as_ref()).map_or(0, |(count, _)| *count) + 1;
    let (receipt, broken) = match told {
        b"broken" => (None, Some("its payload is no job: it has no count of attempts")),
        b"" => {
            let place = read.as_ref().and_then(|read| read.attempts.as_ref()).map(|(_, place)| place.clone());
            let counted = text.ok().zip(place).map(|(text, place)| payload::counted(text, place, attempts));
            // The server has seen that it ends with its attempts; who reads it otherwise has found broken JSON.
            let broken = counted.is_none().then_some("its payload is no JSON");
            (
                Some(counted.map_or_else(|| count_last(&original), |text| Bytes::from(text.into_bytes()))),
                broken,
            )
        }
        other => (Some(Bytes::copy_from_slice(other)), None),
    };
    let waited = read.as_ref().and_then(|read| {
        let pushed = Duration::from_micros(read.pushed_us?);
        Some(unix().saturating_sub(pushed))
    });
    let id = read.as_ref().and_then(|read| read.id).unwrap_or_default().to_owned();
    let class = read.as_ref().and_then(|read| read.class).map(payload::class_name);
    let timeout = read.and_then(|read| read.timeout_s).filter(|s| *s > 0).map(Duration::from_secs);
    let payload = Bytes::from(original);
    let receipt = receipt.unwrap_or_else(|| payload.clone());
    Leased { payload, receipt, id, attempts, class, timeout, waited, broken }
}

/// What the server's script made of a payload that ends with its attempts, byte for byte.
fn count_last(original: &[u8]) -> Bytes {
    let digits = original[..original.len() - 1].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let start = original.len() - 1 - digits;
    let count: u32 = std::str::from_utf8(&original[start..original.len() - 1])
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default();
    let mut out = original[..start].to_vec();
    out.extend_from_slice((count + 1).to_string().as_bytes());
    out.push(b'}');
    Bytes::from(out)
}

/// The payload that a lease of an unknown hand was made of.
fn uncounted(reserved: Vec<u8>) -> Leased {
    let counted = Bytes::from(reserved);
    let text = std::str::from_utf8(&counted).ok();
    let attempts = text.and_then(payload::read).and_then(|read| read.attempts).map_or(1, |(count, _)| count);
    let original = text.and_then(|text| payload::with_attempts(text, attempts.saturating_sub(1)));
    let broken = original.is_none().then_some("its payload is no job: it has no count of attempts");
    let mut job = leased(original.map_or_else(|| counted.to_vec(), String::into_bytes), b"");
    job.attempts = attempts;
    job.receipt = counted;
    job.broken = broken;
    job
}

fn number(frame: &Frame) -> Result<u64, Fault> {
    match frame {
        Frame::Integer(number) => u64::try_from(*number).map_err(|_| Fault::Strange("a negative count")),
        _ => Err(Fault::Strange("a number was expected")),
    }
}

fn score_of(bytes: &[u8]) -> f64 {
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

impl Driver for LaravelRedis {
    fn lease<'a>(&'a self, queue: &'a str, count: usize) -> Promise<'a, Vec<Leased>> {
        Box::pin(async move {
            let (list, reserved) = (self.key(queue, ""), self.key(queue, ":reserved"));
            let notify = self.key(queue, ":notify");
            let mut batch = Batch::new();
            script(&mut batch, LEASE, &[&list, &reserved, &notify], 2);
            batch.word(self.lease_end()).word(count.to_string());
            let mut jobs = bulks(self.client.one(batch).await?)?.into_iter();
            let mut out = Vec::with_capacity(jobs.len() / 2);
            while let (Some(original), Some(told)) = (jobs.next(), jobs.next()) {
                out.push(leased(original, &told));
            }
            Ok(out)
        })
    }

    fn settle<'a>(&'a self, queue: &'a str, leases: Vec<Settlement>) -> Promise<'a, ()> {
        Box::pin(async move {
            let mut batch = Batch::new();
            let reserved = self.key(queue, ":reserved");
            let of = |which: fn(&Action) -> bool| leases.iter().filter(move |lease| which(&lease.action));
            let acks = of(|action| matches!(action, Action::Ack));
            let count = acks.clone().count();
            if count > 0 {
                batch.begin(2 + count).word("ZREM").word(&reserved);
                batch.words(acks.map(|lease| &lease.receipt));
            }
            let returns = of(|action| matches!(action, Action::Return));
            let count = returns.clone().count();
            if count > 0 {
                let (list, notify) = (self.key(queue, ""), self.key(queue, ":notify"));
                script(&mut batch, RETURN, &[&list, &reserved, &notify], 1 + 2 * count);
                batch.word(self.settings.mark.number().to_string());
                batch.words(returns.flat_map(|lease| [&lease.receipt, &lease.payload]));
            }
            let later = of(|action| matches!(action, Action::PutOff(_)));
            let count = later.clone().count();
            if count > 0 {
                let delayed = self.key(queue, ":delayed");
                script(&mut batch, PUT_OFF, &[&delayed, &reserved], 1 + 3 * count);
                batch.word(self.settings.mark.number().to_string());
                for lease in later {
                    let Action::PutOff(delay) = lease.action else { continue };
                    batch.word((unix() + delay).as_secs().to_string());
                    batch.word(&lease.receipt).word(&lease.payload);
                }
            }
            let releases = of(|action| matches!(action, Action::Release(_)));
            let count = releases.clone().count();
            if count > 0 {
                let delayed = self.key(queue, ":delayed");
                script(&mut batch, RELEASE, &[&delayed, &reserved], 2 * count);
                for lease in releases {
                    let Action::Release(delay) = lease.action else { continue };
                    batch.word((unix() + delay).as_secs().to_string()).word(&lease.receipt);
                }
            }
            let parks = of(|action| matches!(action, Action::Park(_)));
            let count = parks.clone().count();
            if count > 0 {
                script(&mut batch, PARK, &[&reserved, &self.parked_key(queue)], 2 * count);
                for lease in parks {
                    let Action::Park(why) = lease.action else { continue };
                    batch.word(&lease.receipt).word(parked(&lease.payload, why));
                }
            }
            for frame in self.client.send(batch).await? {
                accepted(frame)?;
            }
            Ok(())
        })
    }

    fn extend<'a>(&'a self, queue: &'a str, receipts: Vec<Bytes>) -> Promise<'a, ()> {
        Box::pin(async move {
            let (end, key) = (self.lease_end(), self.key(queue, ":reserved"));
            let mut batch = Batch::new();
            for chunk in receipts.chunks(500) {
                batch.begin(3 + 2 * chunk.len()).word("ZADD").word(&key).word("XX");
                for receipt in chunk {
                    batch.word(&end).word(receipt);
                }
            }
            self.client.send(batch).await?.into_iter().try_for_each(|frame| accepted(frame).map(drop))
        })
    }

    fn reclaim<'a>(&'a self, queue: &'a str) -> Promise<'a, Vec<Leased>> {
        Box::pin(async move {
            let mut batch = Batch::new();
            batch.command(&[b"ZRANGE", self.key(queue, ":reserved").as_bytes(), b"0", b"-1", b"WITHSCORES"]);
            let mut found = bulks(self.client.one(batch).await?)?.into_iter();
            let mut out = Vec::new();
            while let (Some(member), Some(score)) = (found.next(), found.next()) {
                if self.settings.mark.owns(score_of(&score)) {
                    out.push(uncounted(member));
                }
            }
            Ok(out)
        })
    }

    fn tick<'a>(&'a self, queue: &'a str) -> Promise<'a, Ticked> {
        Box::pin(async move {
            let keys = ["", ":delayed", ":reserved", ":notify"].map(|suffix| self.key(queue, suffix));
            let mut batch = Batch::new();
            script(&mut batch, TICK, &keys.each_ref().map(String::as_str), 4);
            let ends = if self.settings.retry_after.is_some() { "1" } else { "0" };
            batch.word(unix().as_secs().to_string()).word(MOVED_MAX.to_string()).word(ends);
            batch.word(self.settings.mark.number().to_string());
            let Frame::Array(items) = self.client.one(batch).await? else {
                return Err(Fault::Strange("a list was expected"));
            };
            let [waiting, delayed, reserved, moved] = items.as_slice() else {
                return Err(Fault::Strange("four numbers were expected"));
            };
            let sizes = Sizes {
                waiting: number(waiting)?,
                delayed: number(delayed)?,
                reserved: number(reserved)?,
                ..Sizes::default()
            };
            Ok(Ticked { sizes, more: number(moved)? >= MOVED_MAX })
        })
    }

    fn wait<'a>(&'a self, queues: &'a [String]) -> Promise<'a, Option<usize>> {
        Box::pin(async move {
            let keys: Vec<String> = queues.iter().map(|queue| self.key(queue, ":notify")).collect();
            let mut batch = Batch::new();
            batch.begin(2 + keys.len()).word("BLPOP");
            batch.words(&keys);
            batch.word(WAIT_S);
            let frame = self.waiter.send_blocking(batch).await?.pop();
            match accepted(frame.ok_or(Fault::Strange("no answer"))?)? {
                Frame::Null => Ok(None),
                told => {
                    let told = bulks(told)?;
                    Ok(keys.iter().position(|key| told.first().is_some_and(|name| name == key.as_bytes())))
                }
            }
        })
    }

    fn heartbeat(&self) -> Option<Duration> {
        // Three chances before the lease ends.
        self.settings.retry_after.map(|span| (span / 3).max(Duration::from_millis(300)))
    }

    fn list<'a>(
        &'a self,
        queue: &'a str,
        shelf: Shelf,
        skip: usize,
        count: usize,
    ) -> Promise<'a, Vec<Listed>> {
        Box::pin(async move {
            let last = (skip + count).saturating_sub(1).to_string();
            let first = skip.to_string();
            let mut batch = Batch::new();
            let suffix = match shelf {
                Shelf::Waiting => {
                    let key = self.key(queue, "");
                    batch.command(&[b"LRANGE", key.as_bytes(), first.as_bytes(), last.as_bytes()]);
                    let jobs = bulks(self.client.one(batch).await?)?;
                    return Ok(jobs
                        .into_iter()
                        .map(|job| Listed { payload: job.into(), at: None, reason: None })
                        .collect());
                }
                Shelf::Parked => {
                    let places = self.parked_places(queue, skip, count).await?;
                    return Ok(places.into_iter().filter_map(|(_, listed)| listed).collect());
                }
                Shelf::Delayed => ":delayed",
                Shelf::Reserved => ":reserved",
            };
            let key = self.key(queue, suffix);
            batch.command(&[b"ZRANGE", key.as_bytes(), first.as_bytes(), last.as_bytes(), b"WITHSCORES"]);
            let mut found = bulks(self.client.one(batch).await?)?.into_iter();
            let mut out = Vec::new();
            while let (Some(job), Some(score)) = (found.next(), found.next()) {
                let at = Some(score_of(&score) as u64);
                out.push(Listed { payload: job.into(), at, reason: None });
            }
            Ok(out)
        })
    }

    fn walk<'a>(
        &'a self,
        queue: &'a str,
        shelf: Shelf,
        from: Option<String>,
        count: usize,
    ) -> Promise<'a, Walked> {
        Box::pin(walk_by_number(from, count, move |skip| {
            Box::pin(async move {
                if shelf == Shelf::Parked {
                    return self.parked_places(queue, skip, count).await;
                }
                let found = self.list(queue, shelf, skip, count).await?;
                Ok(found.into_iter().map(|listed| (listed.payload.clone(), Some(listed))).collect())
            })
        }))
    }

    fn change<'a>(
        &'a self,
        queue: &'a str,
        shelf: Shelf,
        from: Option<String>,
        jobs: Vec<Bytes>,
        change: Change,
    ) -> Promise<'a, u64> {
        Box::pin(async move {
            let key = |suffix| self.key(queue, suffix);
            let runs = change == Change::Ready;
            let mut batch = Batch::new();
            match shelf {
                Shelf::Reserved => return Err(leased_stay()),
                Shelf::Waiting if runs => return Ok(jobs.len() as u64),
                Shelf::Waiting => {
                    script(&mut batch, DROP, &[&key(""), &key(":notify")], 2 + jobs.len());
                    batch.word(from.as_deref().unwrap_or("0")).word(SLACK).words(&jobs);
                }
                Shelf::Delayed => {
                    let keys = [&*key(":delayed"), &*key(""), &*key(":notify")];
                    script(&mut batch, DELAYED, &keys, 1 + jobs.len());
                    batch.word(if runs { "1" } else { "0" }).words(&jobs);
                }
                Shelf::Parked => {
                    let keys = [self.parked_key(queue), key(""), key(":notify")];
                    for kept in &jobs {
                        let Some(job) = unparked(kept) else { continue };
                        script(
                            &mut batch,
                            UNPARK,
                            &keys.each_ref().map(String::as_str),
                            1 + usize::from(runs),
                        );
                        batch.word(kept);
                        if runs {
                            batch.word(&job.payload);
                        }
                    }
                    let answers = self.client.send(batch).await?.into_iter();
                    return answers.map(|frame| number(&accepted(frame)?)).sum();
                }
            }
            number(&self.client.one(batch).await?)
        })
    }

    fn clear<'a>(&'a self, queue: &'a str) -> Promise<'a, u64> {
        Box::pin(async move {
            let keys = ["", ":delayed", ":reserved", ":notify"].map(|suffix| self.key(queue, suffix));
            let mut batch = Batch::new();
            script(&mut batch, CLEAR, &keys.each_ref().map(String::as_str), 0);
            number(&self.client.one(batch).await?)
        })
    }

    fn sizes<'a>(&'a self, queue: &'a str) -> Promise<'a, Sizes> {
        Box::pin(async move {
            let mut batch = Batch::new();
            let keys = ["", ":delayed", ":reserved"].map(|suffix| self.key(queue, suffix));
            batch.command(&[b"LLEN", keys[0].as_bytes()]);
            batch.command(&[b"ZCARD", keys[1].as_bytes()]);
            batch.command(&[b"ZCARD", keys[2].as_bytes()]);
            batch.command(&[b"LLEN", self.parked_key(queue).as_bytes()]);
            batch.command(&[b"LINDEX", keys[0].as_bytes(), b"0"]);
            let frames =
                self.client.send(batch).await?.into_iter().map(accepted).collect::<Result<Vec<_>, _>>()?;
            let [waiting, delayed, reserved, parked, head] = frames.as_slice() else {
                return Err(Fault::Strange("five answers were expected"));
            };
            let oldest_s = match head {
                Frame::Bulk(payload) => leased(payload.clone(), b"").waited.map(|waited| waited.as_secs()),
                _ => None,
            };
            Ok(Sizes {
                waiting: number(waiting)?,
                delayed: number(delayed)?,
                reserved: number(reserved)?,
                parked: number(parked)?,
                oldest_s,
            })
        })
    }

    fn unpark<'a>(&'a self, queue: &'a str, id: Option<String>, retry: bool) -> Promise<'a, u64> {
        Box::pin(async move {
            let key = self.parked_key(queue);
            let mut batch = Batch::new();
            batch.command(&[b"LRANGE", key.as_bytes(), b"0", b"-1"]);
            let mut count = 0;
            for kept in bulks(self.client.one(batch).await?)? {
                let Some(job) = unparked(&kept) else { continue };
                let text = std::str::from_utf8(&job.payload).ok();
                let known = text.and_then(payload::read).and_then(|read| read.id).unwrap_or_default();
                if id.as_deref().is_some_and(|id| id != known) {
                    continue;
                }
                let mut batch = Batch::new();
                let (list, notify) = (self.key(queue, ""), self.key(queue, ":notify"));
                script(&mut batch, UNPARK, &[&key, &list, &notify], if retry { 2 } else { 1 });
                batch.word(&kept);
                if retry {
                    batch.word(&job.payload);
                }
                count += number(&self.client.one(batch).await?)?;
            }
            Ok(count)
        })
    }

    fn push<'a>(&'a self, queue: &'a str, payloads: Vec<Bytes>) -> Promise<'a, ()> {
        Box::pin(async move {
            let mut batch = Batch::new();
            for chunk in payloads.chunks(100) {
                batch.begin(2 + chunk.len()).word("RPUSH").word(self.key(queue, ""));
                batch.words(chunk);
                batch.begin(2 + chunk.len()).word("RPUSH").word(self.key(queue, ":notify"));
                batch.words(chunk.iter().map(|_| "1"));
            }
            self.client.send(batch).await?.into_iter().try_for_each(|frame| accepted(frame).map(drop))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lease_is_counted_as_the_server_counts_it() {
        let check = |job: &str, told: &str, receipt: &str, attempts, broken| {
            let leased = leased(job.as_bytes().to_vec(), told.as_bytes());
            assert_eq!(std::str::from_utf8(&leased.receipt).unwrap(), receipt, "{job}");
            assert_eq!((leased.attempts, leased.broken.is_some()), (attempts, broken), "{job}");
        };
        check(r#"{"id":"a","attempts":0}"#, "", r#"{"id":"a","attempts":1}"#, 1, false);
        check(r#"{"id":"a","attempts":9}"#, "", r#"{"id":"a","attempts":10}"#, 10, false);
        check(
            r#"{"attempts":1,"id":"a"}"#,
            r#"{"id":"a","attempts":2}"#,
            r#"{"id":"a","attempts":2}"#,
            2,
            false,
        );
        check("nonsense", "broken", "nonsense", 1, true);
        check(r#"{"x":,"attempts":3}"#, "", r#"{"x":,"attempts":4}"#, 1, true);
    }

    #[test]
    fn a_lease_of_a_dead_runner_leads_back_to_its_payload() {
        let job = uncounted(br#"{"id":"a","attempts":3}"#.to_vec());
        assert_eq!(job.payload, Bytes::from_static(br#"{"id":"a","attempts":2}"#));
        assert_eq!((job.attempts, job.id.as_str(), job.broken), (3, "a", None));
    }
}
