//! A Messenger stream as one end of a move.
//!
//! | | lies in |
//! |---|---|
//! | taken | hash `STREAM:regie-moving` |
//! | staged | hash `STREAM:regie-arriving:FROM` |
//!
//! What is taken was read by the group and acknowledged in the same script, so no consumer sees it too. An entry without
//! a message is left to the framework's worker, which knows what it does with it.

use tokio::sync::OnceCell;

use super::super::redis::{Batch, Client, Endpoint};
use super::super::symfony_redis::{Settings, plain, serialized, undelayed};
use super::{BATCH, CLAIM_S, ask, number, pairs, text, word};
use crate::parcel::Parcel;
use crate::shell::driver::Fault;

/// The consumer that reads what is moved.
const CONSUMER: &str = "regie-moving";

/// KEYS stream, delayed, held, claim; ARGV word, token, count, group, consumer, idle milliseconds, whether to delete.
const TAKE: &str = "\
if redis.call('get', KEYS[4]) ~= ARGV[1] then return redis.error_reply('ERR another regie move has begun') end
local held = redis.call('hgetall', KEYS[3])
if #held > 0 then return held end
local count, n = tonumber(ARGV[3]), 0
local function hold(at, message)
  n = n + 1
  redis.call('hset', KEYS[3], ARGV[2] .. string.format(':%06d', n), at .. '|' .. message)
end
local function take(entries)
  for _, entry in ipairs(entries) do
    local fields = entry and entry[2] or {}
    for i = 1, #fields, 2 do
      if fields[i] == 'message' then
        hold('-', fields[i + 1])
        redis.call('xack', KEYS[1], ARGV[4], entry[1])
        if ARGV[7] == '1' then redis.call('xdel', KEYS[1], entry[1]) end
        break
      end
    end
  end
end
take(redis.call('xautoclaim', KEYS[1], ARGV[4], ARGV[5], ARGV[6], '0-0', 'COUNT', count)[2])
if n < count then
  local read = redis.call('xreadgroup', 'GROUP', ARGV[4], ARGV[5], 'COUNT', count - n, 'STREAMS', KEYS[1], '>')
  if read then take(read[1][2]) end
end
if n < count then
  local later = redis.call('zrange', KEYS[2], 0, count - n - 1, 'WITHSCORES')
  for i = 1, #later, 2 do
    redis.call('zrem', KEYS[2], later[i])
    hold(later[i + 1], later[i])
  end
end
return redis.call('hgetall', KEYS[3])";

/// KEYS stream, delayed, staged, claim; ARGV word. Nothing is cut off here: `stream_max_entries` would drop messages.
const PUBLISH: &str = "\
if redis.call('get', KEYS[4]) ~= ARGV[1] then return redis.error_reply('ERR another regie move has begun') end
local ids = redis.call('hkeys', KEYS[3])
table.sort(ids)
for _, id in ipairs(ids) do
  local value = redis.call('hget', KEYS[3], id)
  local bar = string.find(value, '|', 1, true)
  local at, message = string.sub(value, 1, bar - 1), string.sub(value, bar + 1)
  if at == '-' then
    redis.call('xadd', KEYS[1], '*', 'message', message)
  else
    redis.call('zadd', KEYS[2], at, message)
  end
end
redis.call('del', KEYS[3])
return #ids";

#[derive(Debug)]
pub(super) struct Stream {
    settings: Settings,
    client: Client,
    /// The word with which it was claimed, once it was.
    claimed: OnceCell<String>,
}

impl Stream {
    pub(super) fn new(settings: Settings) -> Self {
        Self { client: Client::new(settings.endpoint.clone()), claimed: OnceCell::new(), settings }
    }

    /// What tells whether two of them are the same.
    pub(super) fn identity(&self) -> String {
        let Endpoint { address, database, .. } = &self.settings.endpoint;
        format!("{address:?} {database} {}", self.settings.stream)
    }

    fn held_key(&self) -> String {
        format!("{}:regie-moving", self.settings.stream)
    }

    fn staged_key(&self, from: &str) -> String {
        format!("{}:regie-arriving:{from}", self.settings.stream)
    }

    fn claim_key(&self) -> String {
        format!("{}:regie-mover", self.settings.stream)
    }

    /// Older movers can do nothing here any more. The group is made where it is missing, as the framework does.
    pub(super) async fn claim(&self) -> Result<&str, Fault> {
        let claim = async || {
            let Settings { stream, group, .. } = &self.settings;
            let mut create = Batch::new();
            create.begin(6).words(["XGROUP", "CREATE", stream, group, "0", "MKSTREAM"]);
            // It is there already, as a rule.
            self.client.send(create).await?;
            let (key, word) = (self.claim_key(), word());
            let set = ask(&self.client, |batch| {
                batch.command(&[b"SET", key.as_bytes(), word.as_bytes(), b"EX", CLAIM_S]);
            });
            set.await.map(|_| word)
        };
        self.claimed.get_or_try_init(claim).await.map(String::as_str)
    }

    /// How many messages could be moved now, and how many are leased.
    pub(super) async fn counts(&self) -> Result<(u64, u64), Fault> {
        let Settings { stream, delayed, group, .. } = &self.settings;
        let mut batch = Batch::new();
        batch.begin(2).words(["XLEN", stream]);
        batch.begin(2).words(["ZCARD", delayed]);
        batch.begin(2).words(["HLEN", &self.held_key()]);
        batch.begin(3).words(["XPENDING", stream, group]);
        let answers = self.client.send(batch).await?;
        let reserved = match answers.last() {
            Some(regie_resp::Frame::Array(parts)) => parts.first().map_or(0, number),
            // There is no such group yet.
            _ => 0,
        };
        let there: u64 = answers.iter().take(3).map(number).sum();
        let kept = if self.settings.delete_after_ack { reserved } else { 0 };
        Ok((there.saturating_sub(kept), reserved))
    }

    pub(super) async fn held(&self) -> Result<Vec<Parcel>, Fault> {
        let key = self.held_key();
        let answer = ask(&self.client, |batch| {
            batch.command(&[b"HGETALL", key.as_bytes()]);
        });
        Ok(parcels(answer.await?))
    }

    pub(super) async fn take(&self) -> Result<Vec<Parcel>, Fault> {
        let Settings { stream, delayed, group, redeliver_timeout, .. } = &self.settings;
        let (claim, token) = (self.claim().await?, word());
        let (count, idle) = (BATCH.to_string(), redeliver_timeout.as_millis().to_string());
        let delete = if self.settings.delete_after_ack { "1" } else { "0" };
        let keys = [stream, delayed, &self.held_key(), &self.claim_key()];
        let answer = ask(&self.client, |batch| {
            batch.begin(14).words(["EVAL", TAKE, "4"]).words(keys);
            batch.words([claim, &token, &count, group, CONSUMER, &idle, delete]);
        });
        Ok(parcels(answer.await?))
    }

    pub(super) async fn stage(&self, from: &str, parcels: &[Parcel]) -> Result<(), Fault> {
        let (staged, claim) = (self.staged_key(from), self.claim_key());
        let word = self.claim().await?;
        ask(&self.client, |batch| {
            batch.begin(6 + 2 * parcels.len()).words(["EVAL", super::STAGE, "2", &staged, &claim, word]);
            for parcel in parcels {
                // Sorted as text, rows keep their order.
                batch.word(format!("{:0>20}", parcel.id)).word(self.staged(from, parcel));
            }
        })
        .await
        .map(drop)
    }

    /// A message as it is published: when, and what is written then.
    fn staged(&self, from: &str, parcel: &Parcel) -> Vec<u8> {
        let payload = parcel.payload.as_bytes();
        match parcel.at {
            None if self.settings.serialized => [b"-|", &*serialized(payload)].concat(),
            None => [b"-|", payload].concat(),
            Some(second) => {
                let at = second.saturating_mul(1000);
                format!("{at}|{}", delayed(&parcel.payload, &format!("{from}-{}", parcel.id))).into_bytes()
            }
        }
    }

    pub(super) async fn confirm(&self, parcels: &[Parcel]) -> Result<(), Fault> {
        let (held, claim) = (self.held_key(), self.claim_key());
        let word = self.claim().await?;
        ask(&self.client, |batch| {
            batch.begin(6 + parcels.len()).words(["EVAL", super::CONFIRM, "2", &held, &claim, word]);
            batch.words(parcels.iter().map(|parcel| &parcel.id));
        })
        .await
        .map(drop)
    }

    pub(super) async fn publish(&self, from: &str) -> Result<u64, Fault> {
        let Settings { stream, delayed, .. } = &self.settings;
        let (staged, claim) = (self.staged_key(from), self.claim_key());
        let word = self.claim().await?;
        let answer = ask(&self.client, |batch| {
            batch.begin(8).words(["EVAL", PUBLISH, "4", stream, delayed, &staged, &claim, word]);
        });
        Ok(number(&answer.await?))
    }
}

/// A message as the framework delays one: what is the same twice must not be one.
fn delayed(payload: &str, unique: &str) -> String {
    let unique = serde_json::Value::from(unique);
    match payload.trim_end().strip_suffix('}') {
        Some(body) if !body.trim_end().ends_with('{') => format!("{body},\"uniqid\":{unique}}}"),
        _ => payload.to_owned(),
    }
}

fn parcels(answer: regie_resp::Frame) -> Vec<Parcel> {
    let parcel = |(id, value): (regie_resp::Frame, regie_resp::Frame)| {
        let value = text(value);
        let (at, message) = value.split_once('|')?;
        // Never earlier than it was to be.
        let at = at.parse::<f64>().ok().map(|ms| (ms / 1000.0).ceil() as u64);
        let payload = match at {
            None => plain(message.as_bytes().to_vec()),
            Some(_) => undelayed(message.as_bytes()),
        };
        let payload = String::from_utf8_lossy(&payload).into_owned();
        Some(Parcel { id: text(id), payload, attempts: 0, at })
    };
    let mut out: Vec<Parcel> = pairs(answer).into_iter().filter_map(parcel).collect();
    out.sort_by(|a, b| a.id.cmp(&b.id));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_messages_stay_two_among_the_delayed() {
        for (payload, expected) in [
            (r#"{"body":"b","headers":[]}"#, r#"{"body":"b","headers":[],"uniqid":"a-7"}"#),
            ("{}", "{}"),
            ("no message", "no message"),
        ] {
            let made = delayed(payload, "a-7");
            assert_eq!(made, expected);
            if payload.len() > 10 && payload.starts_with('{') {
                assert_eq!(undelayed(made.as_bytes()), payload.as_bytes(), "and they come back as they were");
            }
        }
    }
}
