//! CLIENT TRACKING: clients that keep what they have read are told when it changes.

use crate::blob::Blob;
use crate::command::Command;
use crate::engine::Engine;
use crate::session::ClientId;
use regie_resp::Version;

/// The channel on which a client of version 2 hears of invalidations.
const CHANNEL: &[u8] = b"__redis__:invalidate";

impl Engine {
    /// Whether no client tracks by what it reads.
    pub(crate) fn tracked_nobody(&self) -> bool {
        !self.any_tracking
    }

    /// Remembers that a client has read the keys of a command; within a script those that the script has declared.
    pub(crate) fn remember_read(
        &mut self,
        client: ClientId,
        row: &Command,
        arguments: &[&[u8]],
        caching: Option<bool>,
        in_script: bool,
    ) {
        let tracking = &self.session(client).tracking;
        let wanted = match (tracking.opt_in, tracking.opt_out) {
            (true, _) => caching == Some(true),
            (_, true) => caching != Some(false),
            _ => true,
        };
        if !tracking.is_on || tracking.broadcast || !wanted {
            return;
        }
        let keys: Vec<Blob> = if in_script {
            self.declared.clone()
        } else {
            let places = row.places(arguments).unwrap_or_default();
            places.iter().map(|(index, _)| Blob::from(arguments[*index])).collect()
        };
        for key in keys {
            self.tracked.entry(key).or_default().insert(client);
        }
        self.trim_tracked();
    }

    /// Forgets keys above the limit, and tells those who have read them.
    pub(crate) fn trim_tracked(&mut self) {
        let limit: usize = self.config.get("tracking-table-max-keys").parse().unwrap_or(0);
        while limit > 0 && self.tracked.len() > limit {
            let Some(key) = self.tracked.keys().next().cloned() else { break };
            self.tracking_invalidate(&key, 0);
        }
    }

    /// A script begins: remembers the keys it declares.
    pub(crate) fn declare(&mut self, row: &Command, arguments: &[&[u8]]) {
        let places = row.places(arguments).unwrap_or_default();
        self.declared = places.iter().map(|(index, _)| Blob::from(arguments[*index])).collect();
    }

    /// Tells those who have read a key, or track its prefix, that it has changed.
    pub(crate) fn tracking_invalidate(&mut self, key: &[u8], by: ClientId) {
        if !self.tracked.is_empty()
            && let Some(clients) = self.tracked.remove(key)
        {
            for client in clients {
                self.invalidate(client, Some(&[key]), by, false);
            }
        }
        if !self.broadcasting.is_empty() {
            self.changed_keys.push((Blob::from(key), by));
        }
    }

    /// Tells those who track prefixes what a command has changed: one message for each prefix.
    pub(crate) fn tracking_broadcast(&mut self) {
        if self.changed_keys.is_empty() {
            return;
        }
        let changed = std::mem::take(&mut self.changed_keys);
        for (prefix, clients) in self.broadcasting.clone() {
            for client in clients {
                let no_loop = self.sessions.get(&client).is_some_and(|session| session.tracking.no_loop);
                let mut keys: Vec<&[u8]> = Vec::new();
                for (key, by) in &changed {
                    if key.starts_with(&prefix) && !(no_loop && *by == client) && !keys.contains(&&**key) {
                        keys.push(key);
                    }
                }
                if !keys.is_empty() {
                    self.invalidate(client, Some(&keys), 0, true);
                }
            }
        }
    }

    /// Tells everyone that everything has changed.
    pub(crate) fn tracking_invalidate_all(&mut self) {
        self.tracked.clear();
        let clients: Vec<ClientId> = self
            .sessions
            .values()
            .filter(|session| session.tracking.is_on)
            .map(|session| session.id)
            .collect();
        for client in clients {
            self.invalidate(client, None, 0, false);
        }
    }

    fn invalidate(&mut self, client: ClientId, keys: Option<&[&[u8]]>, by: ClientId, broadcast: bool) {
        let Some(session) = self.sessions.get(&client) else { return };
        let tracking = &session.tracking;
        if !tracking.is_on
            || tracking.broadcast != broadcast && keys.is_some()
            || (tracking.no_loop && by == client)
        {
            return;
        }
        let target = if tracking.redirect == 0 { client } else { tracking.redirect };
        let Some(receiver) = self.sessions.get(&target) else {
            let told = tracking.redirect_is_broken;
            if let Some(session) = self.sessions.get_mut(&client) {
                session.tracking.redirect_is_broken = true;
            }
            if !told {
                self.deliver(client, |out| {
                    if out.version == Version::Three {
                        out.push(2);
                        out.bulk(b"tracking-redir-broken");
                        out.integer(target as i64);
                    }
                });
            }
            return;
        };
        let listens = receiver.channels.contains(CHANNEL);
        let version = receiver.version;
        if version == Version::Two && !listens {
            return;
        }
        self.deliver(target, |out| {
            if version == Version::Three {
                out.push(2);
                out.bulk(b"invalidate");
            } else {
                out.push(3);
                out.bulk(b"message");
                out.bulk(CHANNEL);
            }
            match keys {
                Some(keys) => {
                    out.array(keys.len());
                    keys.iter().for_each(|key| out.bulk(key));
                }
                None => out.null(),
            }
        });
    }

    pub(crate) fn tracking_off(&mut self, client: ClientId) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        if !session.tracking.is_on {
            return;
        }
        session.tracking = crate::session::Tracking::default();
        self.broadcasting.retain(|_, clients| {
            clients.remove(&client);
            !clients.is_empty()
        });
        self.any_tracking = self.sessions.values().any(|session| session.tracking.is_on);
    }
}
