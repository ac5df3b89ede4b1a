//! What control clients ask.

use nix::sys::signal::Signal;

use super::Driver;
use crate::control::{ErrorKind, NameResult, Overview, PROTOCOL, Reply, Request};
use crate::machine::{Command, Event, Ticket};
use crate::pattern;
use crate::shell::clients::{Filter, Mode, Named};
use crate::shell::clock;
use crate::shell::logs::SELF;
use crate::shell::proc;

impl Driver {
    /// Lets each client have its turn.
    pub(super) fn serve_clients(&mut self) {
        let now = self.clock.now();
        let ids: Vec<u64> = self.clients.list.keys().copied().collect();
        for id in ids {
            while let Some(request) =
                self.clients.list.get_mut(&id).and_then(|client| client.next_request(now))
            {
                self.request(id, request);
            }
        }
        self.clients.drop_over(now);
        self.logs.followed = self.clients.anyone_follows();
    }

    fn answer(&mut self, id: u64, reply: &Reply) {
        if let Some(client) = self.clients.list.get_mut(&id) {
            client.push(reply);
        }
    }

    fn request(&mut self, id: u64, request: Request) {
        match request {
            Request::Ping {} => {
                let reply = Reply::Pong {
                    pid: std::process::id(),
                    protocol: PROTOCOL,
                    version: self.version.clone(),
                };
                self.answer(id, &reply);
            }
            Request::Status { names } => {
                let reply = self.status(&names);
                self.answer(id, &reply);
            }
            Request::Wait { names } => self.ask_machine(id, true, Command::Wait(names)),
            Request::Start { names, wait } => self.ask_machine(id, wait, Command::Start(names)),
            Request::Stop { names, wait } => self.ask_machine(id, wait, Command::Stop(names)),
            Request::Restart { names, wait } => self.ask_machine(id, wait, Command::Restart(names)),
            Request::Reload { names, wait } if names.is_empty() => {
                let ticket = self.ticket(id);
                self.reload_all(Some((ticket, wait)));
            }
            Request::Reload { names, wait } => self.ask_machine(id, wait, Command::Reload(names)),
            Request::Scale { name, to, wait } => self.ask_machine(id, wait, Command::Scale { name, to }),
            Request::Signal { names, signal } => match signal_named(&signal) {
                Some(signal) => self.ask_machine(id, true, Command::Signal { names, signal }),
                None => {
                    let message = format!("\"{signal}\" is not a signal");
                    self.answer(id, &Reply::Error { kind: ErrorKind::BadRequest, message });
                }
            },
            Request::Logs { names, tail, follow, since_ms, grep } => {
                let names: Vec<Named> = names.into_iter().map(|name| self.named(name)).collect();
                self.logs_asked(id, tail, follow, Filter { names, since_ms, grep });
            }
            Request::ReopenLogs {} => {
                self.logs.reopen();
                self.answer(id, &Reply::Done { results: Vec::new() });
            }
            Request::Shutdown { fast } => self.ask_machine(id, true, Command::Shutdown { fast }),
        }
    }

    fn ticket(&mut self, id: u64) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.tickets.insert(ticket, id);
        if let Some(client) = self.clients.list.get_mut(&id) {
            client.mode = Mode::Waiting;
        }
        ticket
    }

    fn ask_machine(&mut self, id: u64, wait: bool, command: Command) {
        let ticket = self.ticket(id);
        self.feed(Event::Command { ticket: Some(ticket), command });
        self.settle(id, ticket, wait);
    }

    /// Who does not want to wait is answered, unless it was refused already.
    pub(super) fn settle(&mut self, id: u64, ticket: Ticket, wait: bool) {
        if !wait && self.tickets.contains_key(&ticket) {
            let results: Vec<NameResult> = Vec::new();
            self.answer(id, &Reply::Done { results });
            self.forget(ticket);
        }
    }

    fn forget(&mut self, ticket: Ticket) {
        let now = self.clock.now();
        if let Some(client) = self.tickets.remove(&ticket).and_then(|id| self.clients.list.get_mut(&id)) {
            client.answered(now);
        }
    }

    /// The machine's answer to a ticket. Nobody may be there any more to hear it.
    pub(super) fn reply(&mut self, ticket: Ticket, reply: &Reply) {
        if let Some(id) = self.tickets.get(&ticket).copied() {
            self.answer(id, reply);
            self.forget(ticket);
        }
    }

    fn status(&mut self, names: &[String]) -> Reply {
        if let Some(unknown) = self.unknown(names) {
            return unknown;
        }
        self.measure_for_status();
        let now = self.clock.now();
        let mut rows = Vec::new();
        for view in self.machine.view(now) {
            let mut row = view.row;
            if !names.is_empty() && !names.iter().any(|pattern| self.machine.means(pattern, &row.name)) {
                continue;
            }
            if let Some((memory, cpu_percent)) = view.run.and_then(|run| self.readings.of(run)) {
                row.memory = Some(memory);
                row.cpu_percent = cpu_percent;
            }
            rows.push(row);
        }
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        Reply::Status(Overview {
            pid: std::process::id(),
            version: self.version.clone(),
            uptime_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            phase: self.machine.phase().as_str().to_owned(),
            memory: proc::pss(own).unwrap_or(0),
            rows,
        })
    }

    fn unknown(&self, names: &[String]) -> Option<Reply> {
        let unknown = names.iter().find(|name| *name != SELF && !self.machine.knows(name))?;
        let message = self.machine.no_such_message(unknown);
        Some(Reply::Error { kind: ErrorKind::NoSuchName, message })
    }

    /// A name that is no program's may be that of a worker of one.
    fn named(&self, name: String) -> Named {
        if !self.machine.knows(&name)
            && let Some((program, worker)) = pattern::worker(&name)
            && self.machine.knows(program)
        {
            return Named { pattern: program.to_owned(), worker: Some(worker.to_owned()) };
        }
        Named { pattern: name, worker: None }
    }

    fn logs_asked(&mut self, id: u64, tail: Option<usize>, follow: bool, filter: Filter) {
        let patterns: Vec<String> = filter.names.iter().map(|named| named.pattern.clone()).collect();
        if let Some(unknown) = self.unknown(&patterns) {
            return self.answer(id, &unknown);
        }
        let machine = &self.machine;
        let lines = self.logs.recent.tail(tail, |line| filter.wants(line, |p, n| machine.means(p, n)));
        let Some(client) = self.clients.list.get_mut(&id) else { return };
        for line in lines {
            client.push_line(line);
        }
        if follow {
            client.mode = Mode::Following(filter);
        } else {
            client.push(&crate::control::Reply::End {});
        }
    }

    /// Gives new lines to those who follow.
    pub(super) fn pass_on_lines(&mut self) {
        let lines = std::mem::take(&mut self.logs.fresh);
        for client in self.clients.list.values_mut() {
            if let Mode::Following(filter) = &client.mode {
                let filter = filter.clone();
                for line in lines.iter().filter(|line| filter.wants(line, |p, n| self.machine.means(p, n))) {
                    client.push_line(line.clone());
                }
                client.tell_skipped(clock::wall_ms());
            }
        }
    }
}

/// `HUP`, `hup` or `SIGHUP`.
fn signal_named(name: &str) -> Option<Signal> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    full.parse().ok()
}
