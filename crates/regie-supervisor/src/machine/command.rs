//! Commands, and the answers to them: given when the wish has come true, or can no longer.

use nix::sys::signal::Signal;

use super::slot::{Entry, Goal, Rest, Slot};
use super::{Effect, Machine, Now, Target, Ticket};
use crate::control::{ErrorKind, NameResult, Reply};
use crate::pattern::matches;
use crate::spec::{MAX_PROCESSES, Scale};

/// What somebody wants. Names are patterns (see [`crate::pattern`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Change nothing; answer when these are up, or cannot be. Without names: all that are to run.
    Wait(Vec<String>),
    /// Start these, and what they depend on.
    Start(Vec<String>),
    /// Stop these.
    Stop(Vec<String>),
    /// Stop all of these, then start them.
    Restart(Vec<String>),
    /// Reload these by their strategies; without names: all that holds code.
    Reload(Vec<String>),
    /// Change the number of processes.
    Scale {
        /// The program.
        name: String,
        /// How many.
        to: u32,
    },
    /// Send a signal to the main processes of these.
    Signal {
        /// Which.
        names: Vec<String>,
        /// What.
        signal: Signal,
    },
    /// Stop everything and end.
    Shutdown {
        /// Kill at once, also what is being stopped already.
        fast: bool,
    },
}

/// What is awaited of each instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    Up,
    Down,
    Reloaded,
    /// Nothing: it is done.
    Nothing,
}

/// An answer that is owed.
#[derive(Debug)]
pub(super) struct Pending {
    ticket: Ticket,
    items: Vec<Item>,
}

#[derive(Debug)]
struct Item {
    program: String,
    index: u32,
    name: String,
    awaited: Awaited,
    result: Option<NameResult>,
}

type Place = (usize, usize);
type Refusal = (ErrorKind, String);

impl Machine {
    pub(super) fn command(&mut self, now: Now, ticket: Option<Ticket>, command: Command) {
        if !self.is_serving() && !matches!(command, Command::Shutdown { .. }) {
            return self.refuse(ticket, (ErrorKind::ShuttingDown, "everything is being stopped".to_owned()));
        }
        let done = match command {
            Command::Wait(names) => self.select(&names).map(|mut places| {
                if names.is_empty() {
                    places = self.places(|_, slot| slot.goal != Goal::Down);
                }
                self.owe(ticket, places, Awaited::Up);
            }),
            Command::Start(names) => self.select(&names).map(|places| self.start(&places, ticket)),
            Command::Stop(names) => self.select(&names).map(|places| self.stop(&places, ticket)),
            Command::Restart(names) => self.select(&names).map(|places| self.restart(&places, ticket)),
            Command::Reload(names) if names.is_empty() => {
                let places = self.places(|entry, _| entry.program.holds_code);
                self.reload(&places, ticket);
                Ok(())
            }
            Command::Reload(names) => self.select(&names).map(|places| self.reload(&places, ticket)),
            Command::Scale { name, to } => self.scale(&name, to, ticket),
            Command::Signal { names, signal } => {
                self.select(&names).map(|places| self.signal(&places, signal, ticket))
            }
            Command::Shutdown { fast } => {
                self.begin_shutdown(now, fast);
                self.owe(ticket, Vec::new(), Awaited::Nothing);
                Ok(())
            }
        };
        if let Err(refusal) = done {
            self.refuse(ticket, refusal);
        }
    }

    pub(super) fn refuse(&mut self, ticket: Option<Ticket>, (kind, message): Refusal) {
        if let Some(ticket) = ticket {
            self.effects.push(Effect::Reply { ticket, reply: Reply::Error { kind, message } });
        }
    }

    /// All slots of an entry are to run, and all that they depend on.
    pub(super) fn want(&mut self, e: usize) {
        let mut wanted = self.dependencies(e);
        wanted.push(e);
        for e in wanted {
            for slot in self.entries[e].slots.iter_mut().filter(|slot| !slot.retired) {
                if slot.goal == Goal::Down {
                    slot.want_up();
                }
            }
        }
    }

    fn start(&mut self, places: &[Place], ticket: Option<Ticket>) {
        for (e, s) in places {
            for d in self.dependencies(*e) {
                self.want(d);
            }
            let slot = &mut self.entries[*e].slots[*s];
            // One that is on its way already stays on it.
            if slot.goal != Goal::Up || slot.rest != Rest::Due {
                slot.want_up();
            }
        }
        self.owe(ticket, places.to_vec(), Awaited::Up);
    }

    fn stop(&mut self, places: &[Place], ticket: Option<Ticket>) {
        for (e, s) in places {
            let slot = &mut self.entries[*e].slots[*s];
            slot.goal = Goal::Down;
            slot.reload_wanted = false;
        }
        self.owe(ticket, places.to_vec(), Awaited::Down);
    }

    fn restart(&mut self, places: &[Place], ticket: Option<Ticket>) {
        for (e, s) in places {
            let slot = &mut self.entries[*e].slots[*s];
            slot.goal = Goal::Bounce;
            slot.reload_wanted = false;
        }
        self.owe(ticket, places.to_vec(), Awaited::Up);
    }

    pub(super) fn reload(&mut self, places: &[Place], ticket: Option<Ticket>) {
        for (e, s) in places {
            let slot = &mut self.entries[*e].slots[*s];
            slot.reload_error = None;
            slot.reload_after = Now::ZERO;
            slot.reload_wanted = slot.goal == Goal::Up;
        }
        self.owe(ticket, places.to_vec(), Awaited::Reloaded);
    }

    fn scale(&mut self, name: &str, to: u32, ticket: Option<Ticket>) -> Result<(), Refusal> {
        let Some(e) = self.entries.iter().position(|entry| entry.program.name == name && !entry.removed)
        else {
            return Err(self.no_such(name));
        };
        let entry = &mut self.entries[e];
        let most = match entry.base.scale {
            Scale::Fixed => return Err((ErrorKind::CannotScale, format!("{name} runs once by its nature"))),
            Scale::Argument(_) if to == 0 => {
                return Err((
                    ErrorKind::CannotScale,
                    format!("{name} needs at least one worker; to stop it: stop {name}"),
                ));
            }
            Scale::Processes | Scale::Argument(_) => MAX_PROCESSES,
        };
        if to > most {
            return Err((ErrorKind::CannotScale, format!("{name} can have at most {most}")));
        }
        entry.scaled = Some(to);
        let scaled = Entry::effective(&entry.base, entry.scaled);
        self.adopt(e, scaled);
        let places = self.places(|entry, slot| entry.program.name == name && !slot.retired);
        self.owe(ticket, places, Awaited::Reloaded);
        Ok(())
    }

    fn signal(&mut self, places: &[Place], signal: Signal, ticket: Option<Ticket>) {
        for (e, s) in places {
            if let Some(main) = &self.entries[*e].slots[*s].main {
                self.effects.push(Effect::Signal { run: main.run, signal, target: Target::Main });
            }
        }
        self.owe(ticket, places.to_vec(), Awaited::Nothing);
    }

    /// The instances for which `wanted` holds.
    pub(super) fn places(&self, wanted: impl Fn(&Entry, &Slot) -> bool) -> Vec<Place> {
        let mut places = Vec::new();
        for (e, entry) in self.entries.iter().enumerate().filter(|(_, entry)| !entry.removed) {
            places.extend((0..entry.slots.len()).filter(|s| wanted(entry, &entry.slots[*s])).map(|s| (e, s)));
        }
        places
    }

    /// The instances that the patterns mean, each of which must mean one.
    fn select(&self, names: &[String]) -> Result<Vec<Place>, Refusal> {
        let mut places = std::collections::BTreeSet::new();
        for pattern in names {
            let before = places.len();
            for (e, entry) in self.entries.iter().enumerate().filter(|(_, entry)| !entry.removed) {
                let found = (0..entry.slots.len()).filter(|s| !entry.slots[*s].retired);
                places.extend(
                    found.filter(|s| matches(pattern, &entry.program, &entry.name_of(*s))).map(|s| (e, s)),
                );
            }
            // A name may be given twice, or scaled to none.
            let known = self
                .entries
                .iter()
                .any(|entry| !entry.removed && matches(pattern, &entry.program, &entry.program.name));
            if places.len() == before
                && !known
                && !places
                    .iter()
                    .any(|(e, s)| matches(pattern, &self.entries[*e].program, &self.entries[*e].name_of(*s)))
            {
                return Err(self.no_such(pattern));
            }
        }
        Ok(places.into_iter().collect())
    }

    /// What to say of a name that means nothing.
    #[must_use]
    pub fn no_such_message(&self, name: &str) -> String {
        self.no_such(name).1
    }

    fn no_such(&self, name: &str) -> Refusal {
        let names = self.entries.iter().map(|entry| entry.program.name.as_str());
        let hint = regie_core::nearest::nearest(name, names)
            .map(|n| format!(", did you mean \"{n}\"?"))
            .unwrap_or_default();
        (ErrorKind::NoSuchName, format!("no program is called \"{name}\"{hint}"))
    }

    pub(super) fn owe(&mut self, ticket: Option<Ticket>, places: Vec<Place>, awaited: Awaited) {
        let Some(ticket) = ticket else { return };
        let item = |(e, s): Place| {
            let entry: &Entry = &self.entries[e];
            let (program, index) = (entry.program.name.clone(), entry.slots[s].index);
            Item { program, index, name: entry.name_of(s), awaited, result: None }
        };
        let items = places.into_iter().map(item).collect();
        self.pending.push(Pending { ticket, items });
    }

    /// Gives the answers that can be given.
    pub(super) fn answer(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        for owed in &mut pending {
            for item in owed.items.iter_mut().filter(|item| item.result.is_none()) {
                item.result = self.outcome_of(item).map(|(ok, detail)| NameResult {
                    name: item.name.clone(),
                    ok,
                    detail,
                });
            }
        }
        pending.retain_mut(|owed| {
            if owed.items.iter().any(|item| item.result.is_none()) {
                return true;
            }
            let results = owed.items.drain(..).filter_map(|item| item.result).collect();
            self.effects.push(Effect::Reply { ticket: owed.ticket, reply: Reply::Done { results } });
            false
        });
        self.pending = pending;
    }

    /// Whether it came out as awaited, and how it stands; `None` while that is open.
    fn outcome_of(&self, item: &Item) -> Option<(bool, String)> {
        let found = self.entries.iter().position(|entry| entry.program.name == item.program);
        let place = found.and_then(|e| {
            self.entries[e].slots.iter().position(|slot| slot.index == item.index).map(|s| (e, s))
        });
        let Some((e, s)) = place else {
            return Some((item.awaited != Awaited::Up, "removed".to_owned()));
        };
        let (entry, slot) = (&self.entries[e], &self.entries[e].slots[s]);
        let open = match item.awaited {
            Awaited::Nothing => return Some((slot.main.is_some(), slot.state().as_str().to_lowercase())),
            Awaited::Down if slot.goal == Goal::Down && !slot.is_alive() => {
                return Some((true, "stopped".to_owned()));
            }
            Awaited::Down if slot.goal != Goal::Down => {
                return Some((false, "was started again meanwhile".to_owned()));
            }
            Awaited::Down => return None,
            Awaited::Up | Awaited::Reloaded => {
                slot.goal == Goal::Bounce || slot.reload_wanted || slot.incoming.is_some()
            }
        };
        if open {
            return None;
        }
        if slot.goal == Goal::Down {
            let fine = item.awaited == Awaited::Reloaded;
            return (!slot.is_alive()).then(|| (fine, "stopped".to_owned()));
        }
        if let Some(error) = slot.reload_error.as_ref().filter(|_| item.awaited == Awaited::Reloaded) {
            return Some((false, error.clone()));
        }
        match (&slot.main, slot.rest) {
            (Some(main), _) if main.is_running() => Some((true, "running".to_owned())),
            (Some(_), _) | (None, Rest::Backoff { .. }) => None,
            (None, Rest::Exited) => {
                let exit = slot.last_exit.map(|status| format!(" ({status})")).unwrap_or_default();
                Some((slot.ended_well(&entry.program), format!("exited{exit}")))
            }
            (None, Rest::Fatal) => Some((false, slot.reason.clone())),
            (None, Rest::Due) => self.blocked(e).map(|why| (false, why)),
            (None, Rest::Stopped) => Some((false, "stopped".to_owned())),
        }
    }
}
