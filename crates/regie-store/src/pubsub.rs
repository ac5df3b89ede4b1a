//! Channels, patterns and sharded channels, and the notifications that go over them.

use crate::blob::Blob;
use crate::engine::Engine;
use crate::glob;
use crate::notify::Class;
use crate::session::ClientId;
use std::collections::{BTreeMap, BTreeSet};

/// The three ways to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    Channels,
    Patterns,
    Shard,
}

impl Space {
    /// The word in messages when one begins or ceases to listen.
    pub(crate) const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Channels => ("subscribe", "unsubscribe"),
            Self::Patterns => ("psubscribe", "punsubscribe"),
            Self::Shard => ("ssubscribe", "sunsubscribe"),
        }
    }
}

impl Engine {
    pub(crate) fn space(&mut self, space: Space) -> &mut BTreeMap<Blob, BTreeSet<ClientId>> {
        match space {
            Space::Channels => &mut self.channels,
            Space::Patterns => &mut self.patterns,
            Space::Shard => &mut self.shard_channels,
        }
    }

    fn own(&mut self, client: ClientId, space: Space) -> &mut BTreeSet<Blob> {
        let session = self.session(client);
        match space {
            Space::Channels => &mut session.channels,
            Space::Patterns => &mut session.patterns,
            Space::Shard => &mut session.shard_channels,
        }
    }

    pub(crate) fn subscribe(&mut self, client: ClientId, space: Space, channel: &[u8]) {
        self.own(client, space).insert(channel.into());
        self.space(space).entry(channel.into()).or_default().insert(client);
    }

    pub(crate) fn unsubscribe(&mut self, client: ClientId, space: Space, channel: &[u8]) {
        self.own(client, space).remove(channel);
        let listeners = self.space(space);
        if let Some(clients) = listeners.get_mut(channel) {
            clients.remove(&client);
            if clients.is_empty() {
                listeners.remove(channel);
            }
        }
    }

    /// The channels that a client listens to.
    pub(crate) fn subscribed(&mut self, client: ClientId, space: Space) -> Vec<Blob> {
        self.own(client, space).iter().cloned().collect()
    }

    /// How many a client listens to, as the replies of one kind count them.
    pub(crate) fn subscription_count(&mut self, client: ClientId, space: Space) -> usize {
        let session = self.session(client);
        match space {
            Space::Shard => session.shard_channels.len(),
            _ => session.channels.len() + session.patterns.len(),
        }
    }

    pub(crate) fn unsubscribe_all(&mut self, client: ClientId) {
        if !self.sessions.contains_key(&client) {
            return;
        }
        for space in [Space::Channels, Space::Patterns, Space::Shard] {
            for channel in self.subscribed(client, space) {
                self.unsubscribe(client, space, &channel);
            }
        }
    }

    /// Sends a message to all who listen; how many they are.
    pub(crate) fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let direct: Vec<ClientId> =
            self.channels.get(channel).map(|c| c.iter().copied().collect()).unwrap_or_default();
        for client in &direct {
            self.deliver(*client, |out| {
                out.push(3);
                out.bulk(b"message");
                out.bulk(channel);
                out.bulk(message);
            });
        }
        let mut count = direct.len();
        let by_pattern: Vec<(Blob, Vec<ClientId>)> = self
            .patterns
            .iter()
            .filter(|(pattern, _)| glob::matches(pattern, channel, false))
            .map(|(pattern, clients)| (pattern.clone(), clients.iter().copied().collect()))
            .collect();
        for (pattern, clients) in by_pattern {
            count += clients.len();
            for client in clients {
                self.deliver(client, |out| {
                    out.push(4);
                    out.bulk(b"pmessage");
                    out.bulk(&pattern);
                    out.bulk(channel);
                    out.bulk(message);
                });
            }
        }
        count
    }

    pub(crate) fn publish_shard(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let clients: Vec<ClientId> =
            self.shard_channels.get(channel).map(|c| c.iter().copied().collect()).unwrap_or_default();
        for client in &clients {
            self.deliver(*client, |out| {
                out.push(3);
                out.bulk(b"smessage");
                out.bulk(channel);
                out.bulk(message);
            });
        }
        clients.len()
    }

    /// Announces an event of a key to those who listen for it.
    pub(crate) fn notify(&mut self, class: Class, event: &str, db: usize, key: &[u8]) {
        let enabled = self.config.events;
        if !enabled.has(class) {
            return;
        }
        if enabled.has(Class::KEYSPACE) {
            let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
            self.publish(&channel, event.as_bytes());
        }
        if enabled.has(Class::KEYEVENT) {
            let channel = format!("__keyevent@{db}__:{event}");
            self.publish(channel.as_bytes(), key);
        }
    }
}
