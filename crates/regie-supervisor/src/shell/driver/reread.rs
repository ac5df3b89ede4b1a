//! Reading the configuration again, beside the loop: a name server that does not answer, or a slow disk, holds up
//! nobody.
//!
//! ```text
//! reload ─▶ a thread reads; when it is done its end of a pipe closes ─▶ the loop finishes and gives the machine the table
//! ```
//!
//! A reload that is asked for meanwhile is carried out after that one: what it is about may have been read too early.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, channel};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::{Driver, check_descriptors};
use crate::control::{ErrorKind, Reply};
use crate::machine::{Command, Event, Ticket};
use crate::shell::logs::SELF;
use crate::shell::settings::{Finish, Reread, Table};

/// Who asked for a reload, and whether they wait for its end. Nobody, when it was a signal.
pub(super) type Asked = Option<(Ticket, bool)>;

/// A configuration that is being read.
pub(super) struct Reading {
    found: Receiver<Result<Finish, String>>,
    /// Ends when there is something to receive.
    done: OwnedFd,
    asked: Asked,
    /// Those who asked while it was being read.
    later: VecDeque<Asked>,
}

impl Reading {
    fn begin(reread: &Reread, asked: Asked, later: VecDeque<Asked>) -> std::io::Result<Self> {
        let (done, not_done) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let (tell, found) = channel();
        let reread = Reread::clone(reread);
        std::thread::Builder::new().name("reread".to_owned()).spawn(move || {
            // Nobody listens any more when the supervisor ends meanwhile.
            let _ = tell.send(reread());
            drop(not_done);
        })?;
        Ok(Self { found, done, asked, later })
    }

    /// What to wait for.
    pub(super) fn done(&self) -> BorrowedFd<'_> {
        self.done.as_fd()
    }
}

impl Driver {
    /// Reads the configuration again and applies it; a faulty one changes nothing.
    pub(super) fn reload_all(&mut self, asked: Asked) {
        match &mut self.reading {
            // Several signals are as good as one.
            Some(reading) if asked.is_none() && reading.later.contains(&None) => {}
            Some(reading) => reading.later.push_back(asked),
            None => self.begin_reading(asked, VecDeque::new()),
        }
    }

    fn begin_reading(&mut self, asked: Asked, later: VecDeque<Asked>) {
        let Some(reread) = &self.reread else {
            let ticket = asked.map(|(ticket, _)| ticket);
            self.feed(Event::Command { ticket, command: Command::Reload(Vec::new()) });
            return self.settle_reload(asked);
        };
        self.logs.event(SELF, "reading the configuration again".to_owned());
        match Reading::begin(reread, asked, later) {
            Ok(reading) => self.reading = Some(reading),
            Err(fault) => self.refuse_reload(asked, format!("no thread can be started to read it: {fault}")),
        }
    }

    /// The thread has ended.
    pub(super) fn end_reading(&mut self) {
        let Some(Reading { found, asked, mut later, .. }) = self.reading.take() else { return };
        let found =
            found.recv().unwrap_or_else(|_| Err("reading it has failed; see the lines above".to_owned()));
        match found.and_then(|finish| finish()).and_then(|table| self.take_table(table)) {
            Ok(programs) => {
                self.feed(Event::Table { ticket: asked.map(|(ticket, _)| ticket), programs });
                let used = self.machine.descriptors_in_use();
                self.held.retain(|name, _| used.contains(name));
                let machine = &self.machine;
                self.logs.recent.retain(|name| name == SELF || machine.knows(name));
                self.settle_reload(asked);
            }
            Err(message) => self.refuse_reload(asked, message),
        }
        if let Some(next) = later.pop_front() {
            self.begin_reading(next, later);
        }
    }

    /// Holds the new descriptors of a table that has no faults.
    fn take_table(&mut self, table: Table) -> Result<Vec<crate::spec::Program>, String> {
        let Table { programs, descriptors } = table;
        let given = |name: &str| descriptors.iter().any(|(n, _)| n == name);
        let faults = crate::spec::check(&programs);
        if !faults.is_empty() {
            return Err(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        }
        check_descriptors(&programs, |name| self.held.contains_key(name) || given(name))
            .map_err(|fault| fault.to_string())?;
        for (name, fd) in descriptors {
            self.held.entry(name).or_insert(fd);
        }
        Ok(programs)
    }

    fn refuse_reload(&mut self, asked: Asked, message: String) {
        self.logs.event(SELF, format!("the new configuration is not used: {message}"));
        if let Some((ticket, _)) = asked {
            self.reply(ticket, &Reply::Error { kind: ErrorKind::InvalidConfiguration, message });
        }
    }

    fn settle_reload(&mut self, asked: Asked) {
        if let Some((ticket, wait)) = asked
            && let Some(id) = self.tickets.get(&ticket).copied()
        {
            self.settle(id, ticket, wait);
        }
    }
}
