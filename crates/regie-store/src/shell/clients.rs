//! What clients send and are sent, and the limits of both: a connection's way from bytes to commands to bytes.

use super::clock;
use super::connection::{Connection, Hold};
use super::server::{CHUNK, Server};
use crate::engine::{Engine, Flow};
use crate::session::ClientId;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use regie_resp::{Limits, Parsed};
use std::io;
use std::os::fd::AsFd;

impl Server {
    pub(super) fn receive(&mut self, engine: &mut Engine, index: usize, scratch: &mut [u8]) {
        let Some(connection) = &mut self.connections[index] else { return };
        // A long argument that is half here is read straight to its place.
        let count = match connection.socket.read(scratch) {
            Ok(0) => return self.close(engine, index),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return;
            }
            Err(_) => return self.close(engine, index),
        };
        engine.count_bytes_in(count);
        if engine.is_leader(connection.client) {
            engine.hear_leader();
        }
        self.reads += 1;
        match connection.hold {
            Hold::Closing => return,
            Hold::Blocked | Hold::Paused => {
                connection.input.extend_from_slice(&scratch[..count]);
                return self.check_input(engine, index);
            }
            Hold::No => {}
        }
        if connection.input.is_empty() {
            let used = self.run_commands(engine, index, &scratch[..count]);
            if let Some(connection) = &mut self.connections[index] {
                connection.input.extend_from_slice(&scratch[used..count]);
            }
        } else {
            connection.input.extend_from_slice(&scratch[..count]);
            self.run_input(engine, index);
        }
        self.check_input(engine, index);
        self.list(index);
    }

    /// Runs the commands in a connection's own buffer.
    pub(super) fn run_input(&mut self, engine: &mut Engine, index: usize) {
        let Some(connection) = &mut self.connections[index] else { return };
        let mut input = std::mem::take(&mut connection.input);
        let used = self.run_commands(engine, index, &input);
        if used == input.len() {
            input.clear();
            if input.capacity() > CHUNK {
                input = Vec::new();
            }
        } else if used > 0 {
            input.drain(..used);
        }
        if let Some(connection) = &mut self.connections[index] {
            connection.input = input;
        }
    }

    /// A client may not make the server keep more than its limit.
    pub(super) fn check_input(&mut self, engine: &mut Engine, index: usize) {
        let Some(connection) = self.connections[index].as_ref().filter(|c| !c.input.is_empty()) else {
            return;
        };
        let limit = if engine.is_unauthenticated(connection.client) {
            1 << 20
        } else {
            engine.setting("client-query-buffer-limit").parse().unwrap_or(usize::MAX)
        };
        if connection.input.len() > limit {
            self.close(engine, index);
        }
    }

    /// Runs the whole commands at the beginning of `data`; how many bytes they took. The connection stands aside
    /// meanwhile: a script that takes long serves the others.
    pub(super) fn run_commands(&mut self, engine: &mut Engine, index: usize, data: &[u8]) -> usize {
        let Some(mut connection) = self.connections[index].take() else { return data.len() };
        let mut at = 0;
        while at < data.len() && connection.hold == Hold::No {
            at += match self.run_command(engine, &mut connection, &data[at..]) {
                Some(consumed) => consumed,
                None => break,
            };
        }
        if connection.hold == Hold::Closing {
            at = data.len();
        }
        if connection.hold == Hold::Paused {
            self.paused.push(index);
        }
        if self.was_inside {
            connection.is_listed = false;
        }
        self.connections[index] = Some(connection);
        at
    }

    /// Runs the command at the beginning of `data`; how many bytes it took, `None` if it is not whole or is put off.
    pub(super) fn run_command(
        &mut self,
        engine: &mut Engine,
        connection: &mut Connection,
        data: &[u8],
    ) -> Option<usize> {
        let limits = if engine.is_unauthenticated(connection.client) {
            &Limits::UNAUTHENTICATED
        } else {
            &self.limits
        };
        let consumed = match connection.parser.parse(data, limits) {
            Ok(Parsed::Incomplete { .. }) => return None,
            Ok(Parsed::Command { consumed }) => consumed,
            Err(error) => {
                connection.out.error(format!("ERR {error}").as_bytes());
                connection.hold = Hold::Closing;
                return None;
            }
        };
        let count = connection.parser.count();
        let mut few: [&[u8]; 16] = [&[]; 16];
        let many: Vec<&[u8]>;
        let arguments = if count <= few.len() {
            for (slot, argument) in few.iter_mut().zip(connection.parser.arguments(data)) {
                *slot = argument;
            }
            &few[..count]
        } else {
            many = connection.parser.arguments(data).collect();
            &many[..]
        };
        let flow = engine.execute_with(connection.client, arguments, &mut connection.out, self);
        connection.parser.next();
        if engine.is_leader(connection.client) {
            engine.count_from_leader(connection.client, consumed);
        }
        match flow {
            Flow::Next => {}
            Flow::Later => {
                connection.hold = Hold::Paused;
                return None;
            }
            Flow::Blocked => connection.hold = Hold::Blocked,
            Flow::Close => connection.hold = Hold::Closing,
        }
        Some(consumed)
    }

    /// Goes on with a client that was held.
    pub(super) fn resume(&mut self, engine: &mut Engine, index: usize) {
        let Some(connection) = &mut self.connections[index] else { return };
        if connection.hold == Hold::Closing {
            return;
        }
        connection.hold = Hold::No;
        if !connection.input.is_empty() {
            self.run_input(engine, index);
        }
        self.list(index);
    }

    pub(super) fn list(&mut self, index: usize) {
        if let Some(connection) = &mut self.connections[index]
            && !connection.is_listed
        {
            connection.is_listed = true;
            self.to_send.push(index);
        }
    }

    pub(super) fn send(&mut self, engine: &mut Engine, index: usize) {
        let Some(connection) = &mut self.connections[index] else { return };
        connection.is_listed = false;
        let before = connection.pending();
        self.writes += 1;
        let Ok(all) = connection.flush() else { return self.close(engine, index) };
        engine.count_bytes_out(before - connection.pending());
        if all && connection.hold == Hold::Closing {
            return self.close(engine, index);
        }
        if all == connection.waits_to_write {
            connection.waits_to_write = !all;
            let flags = if all { EpollFlags::EPOLLIN } else { EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT };
            let mut event = EpollEvent::new(flags, index as u64);
            let _ = self.epoll.modify(connection.socket.as_fd(), &mut event);
        }
        if !all {
            self.check_output(engine, index);
        }
    }

    /// Closes a client that does not read fast enough for its class's limits.
    pub(super) fn check_output(&mut self, engine: &mut Engine, index: usize) {
        let Some(connection) = &mut self.connections[index] else { return };
        let class = match connection.client {
            client if engine.is_subscriber(client) => "pubsub",
            client if engine.is_replica(client) => "slave",
            _ => "normal",
        };
        let limits = engine.setting("client-output-buffer-limit");
        let mut words = limits.split_whitespace().skip_while(|word| *word != class).skip(1);
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        let (hard, soft, seconds) = (number() as usize, number() as usize, number());
        let pending = connection.pending();
        let now = clock::now_us() / 1000;
        if soft == 0 || pending <= soft {
            connection.over_soft_since = None;
        } else {
            connection.over_soft_since.get_or_insert(now);
        }
        let too_long = connection.over_soft_since.is_some_and(|since| now - since > seconds as i64 * 1000);
        if (hard > 0 && pending > hard) || too_long {
            (self.report)(&format!(
                "client {} closed: {pending} bytes wait to be read by it",
                connection.client
            ));
            self.close(engine, index);
        }
    }

    pub(super) fn close_idle(&mut self, engine: &mut Engine, now: i64) {
        let seconds: i64 = engine.setting("timeout").parse().unwrap_or(0);
        if seconds == 0 {
            return;
        }
        for index in 0..self.connections.len() {
            let Some(connection) = &self.connections[index] else { continue };
            let idle = engine.idle_since(connection.client).is_some_and(|since| now - since > seconds * 1000);
            if idle {
                self.close(engine, index);
            }
        }
    }

    /// While all clients' buffers together take more than `maxmemory-clients`, those with the biggest are closed.
    pub(super) fn close_the_biggest(&mut self, engine: &mut Engine) {
        let limit = engine.clients_limit();
        if limit == 0 {
            return;
        }
        let holds = |connection: &Connection| (connection.memory(), connection.client);
        let mut held: Vec<(usize, ClientId)> = self
            .connections
            .iter()
            .flatten()
            .map(|connection| holds(connection))
            .filter(|(_, client)| engine.may_close_for_memory(*client))
            .collect();
        let mut all: usize = held.iter().map(|(bytes, _)| bytes).sum();
        held.sort_unstable();
        while all > limit
            && let Some((bytes, client)) = held.pop()
        {
            all -= bytes;
            (self.report)(&format!(
                "client {client} closed: its buffers held {bytes} bytes, and those of all clients more than maxmemory-clients ({limit})"
            ));
            engine.count_evicted_client();
            if let Some(&index) = self.by_client.get(&client) {
                self.cut(engine, index);
            }
        }
    }

    /// Closes a client after what can be sent at once.
    pub(super) fn close(&mut self, engine: &mut Engine, index: usize) {
        if let Some(connection) = &mut self.connections[index] {
            let _ = connection.flush();
        }
        self.cut(engine, index);
    }

    /// Closes a client without a word more.
    pub(super) fn cut(&mut self, engine: &mut Engine, index: usize) {
        let Some(connection) = self.connections[index].take() else { return };
        let _ = self.epoll.delete(connection.socket.as_fd());
        self.by_client.remove(&connection.client);
        engine.disconnect(connection.client);
        self.free.push(index);
    }
}
