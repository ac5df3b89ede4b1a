//! Clients that wait for a key.
//!
//! Each key has a queue of those who wait for it, longest first. When a key may have something, its waiters are tried
//! in that order: their command runs again, and either answers or goes on waiting at its old place. So a blocked
//! command does exactly what it would have done had it come now.

use crate::blob::Blob;
use crate::engine::Engine;
use crate::session::{Blocked, ClientId, Waiting};
use crate::value::Kind;

impl Engine {
    pub(crate) fn block(&mut self, client: ClientId, blocked: Blocked) {
        if let Some(deadline) = blocked.deadline {
            self.wait_deadlines.insert((deadline, client));
        }
        for key in &blocked.keys {
            let queue = self.waiting.entry((blocked.db, key.clone())).or_default();
            if !queue.contains(&client) {
                queue.push_back(client);
            }
        }
        self.session(client).blocked = Some(blocked);
    }

    /// Takes a client out of all queues.
    pub(crate) fn unblock(&mut self, client: ClientId) -> Option<Blocked> {
        let blocked = self.sessions.get_mut(&client)?.blocked.take()?;
        if let Some(deadline) = blocked.deadline {
            self.wait_deadlines.remove(&(deadline, client));
        }
        for key in &blocked.keys {
            let place = (blocked.db, key.clone());
            if let Some(queue) = self.waiting.get_mut(&place) {
                queue.retain(|waiter| *waiter != client);
                if queue.is_empty() {
                    self.waiting.remove(&place);
                }
            }
        }
        Some(blocked)
    }

    /// A client's time has passed: it gets the answer for that.
    pub(crate) fn time_out(&mut self, client: ClientId) {
        let Some(blocked) = self.unblock(client) else { return };
        self.answer_nothing(client, &blocked);
        self.count_blocked(client, &blocked);
        self.effects.resumed.push(client);
    }

    fn answer_nothing(&mut self, client: ClientId, blocked: &Blocked) {
        let single = blocked.arguments.first().is_some_and(|name| {
            name.eq_ignore_ascii_case(b"BLMOVE") || name.eq_ignore_ascii_case(b"BRPOPLPUSH")
        });
        match blocked.waiting {
            Waiting::Replicas => {
                let until = self.session(client).wrote_until;
                let have = self.replicas_that_have(until);
                self.deliver(client, |out| out.integer(have as i64));
            }
            _ if single => self.deliver(client, regie_resp::Encoder::null),
            _ => self.deliver(client, regie_resp::Encoder::null_array),
        }
    }

    /// A blocked command counts as a call when it ends.
    fn count_blocked(&mut self, _client: ClientId, blocked: &Blocked) {
        let arguments: Vec<&[u8]> = blocked.arguments.iter().map(Vec::as_slice).collect();
        if let Ok(id) = crate::dispatch::resolve(&arguments) {
            self.stats.by_command[id].calls += 1;
        }
    }

    /// CLIENT UNBLOCK: as if its time had passed, or with an error.
    pub(crate) fn unblock_by_hand(&mut self, client: ClientId, with_error: bool) -> bool {
        let Some(blocked) = self.unblock(client) else { return false };
        if with_error {
            let text = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
            self.stats.count_error(text);
            self.deliver(client, |out| out.error(text.as_bytes()));
        } else {
            self.answer_nothing(client, &blocked);
        }
        self.effects.resumed.push(client);
        true
    }

    /// A key has got something that a waiter may want.
    pub(crate) fn key_may_be_ready(&mut self, db: usize, key: &[u8]) {
        if self.waiting.is_empty() {
            return;
        }
        let place = (db, Blob::from(key));
        if self.waiting.contains_key(&place) && !self.ready.contains(&place) {
            self.ready.push_back(place);
        }
    }

    /// Every key of a database with waiters: after SWAPDB.
    pub(crate) fn all_may_be_ready(&mut self, db: usize) {
        let places: Vec<_> =
            self.waiting.keys().filter(|(waiting_db, _)| *waiting_db == db).cloned().collect();
        for place in places {
            if !self.ready.contains(&place) {
                self.ready.push_back(place);
            }
        }
    }

    /// Tries those who wait for keys that are ready. Serving one may make other keys ready.
    pub(crate) fn serve_ready(&mut self) {
        while let Some((db, key)) = self.ready.pop_front() {
            let Some(queue) = self.waiting.get(&(db, key.clone())) else { continue };
            for client in queue.clone() {
                self.serve(client, db, &key);
            }
        }
    }

    fn serve(&mut self, client: ClientId, db: usize, key: &[u8]) {
        let Some(blocked) = self.sessions.get(&client).and_then(|session| session.blocked.clone()) else {
            return;
        };
        let kind = self.databases[db].get(key).map(|entry| entry.value.kind());
        let fits = match blocked.waiting {
            Waiting::List => kind == Some(Kind::List),
            Waiting::SortedSet => kind == Some(Kind::SortedSet),
            Waiting::Stream => kind == Some(Kind::Stream),
            Waiting::StreamGroup => true,
            Waiting::Replicas | Waiting::Shell => false,
        };
        let group_is_gone = blocked.waiting == Waiting::StreamGroup && kind != Some(Kind::Stream);
        if !fits {
            return;
        }
        if group_is_gone {
            self.unblock(client);
            let text = "UNBLOCKED the stream key no longer exists";
            self.stats.count_error(text);
            self.deliver(client, |out| out.error(text.as_bytes()));
            self.effects.resumed.push(client);
            return;
        }
        // While its command runs the client is not blocked; if it blocks again, it keeps its place and its deadline.
        let places: Vec<_> = blocked.keys.iter().map(|key| (blocked.db, key.clone())).collect();
        if let Some(session) = self.sessions.get_mut(&client) {
            session.blocked = None;
        }
        let served = self.retry(client, &blocked.arguments);
        if let Some(again) = self.sessions.get_mut(&client).and_then(|session| session.blocked.as_mut()) {
            if let Some(deadline) = again.deadline {
                self.wait_deadlines.remove(&(deadline, client));
            }
            again.deadline = blocked.deadline;
            again.since = blocked.since;
            if let Some(deadline) = blocked.deadline {
                self.wait_deadlines.insert((deadline, client));
            }
        }
        if served {
            if let Some(deadline) = blocked.deadline {
                self.wait_deadlines.remove(&(deadline, client));
            }
            for place in places {
                if let Some(queue) = self.waiting.get_mut(&place) {
                    queue.retain(|waiter| *waiter != client);
                    if queue.is_empty() {
                        self.waiting.remove(&place);
                    }
                }
            }
            self.effects.resumed.push(client);
        }
    }

    /// How many clients wait for a key.
    pub(crate) fn blocked_clients(&self) -> usize {
        self.sessions.values().filter(|session| session.blocked.is_some() || session.is_paused).count()
    }
}
