//! A new table takes the place of the old one.
//!
//! Programs are told apart by name. New ones are started, missing ones stopped and then forgotten, changed ones
//! reloaded by their (new) strategy, and what holds code is reloaded in any case. A table with a fault changes
//! nothing.

use std::sync::Arc;

use super::command::Awaited;
use super::slot::{Entry, Goal, Rest, Slot};
use super::{Machine, Now, Ticket};
use crate::control::ErrorKind;
use crate::spec::{Program, Scale, check};

impl Machine {
    pub(super) fn new_table(&mut self, _now: Now, ticket: Option<Ticket>, programs: Vec<Program>) {
        if !self.is_serving() {
            return self.refuse(ticket, (ErrorKind::ShuttingDown, "everything is being stopped".to_owned()));
        }
        let faults = check(&programs);
        if !faults.is_empty() {
            let report = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            return self.refuse(ticket, (ErrorKind::InvalidConfiguration, report));
        }
        let mut old = std::mem::take(&mut self.entries);
        let mut to_start = Vec::new();
        for program in programs {
            match old.iter().position(|entry| entry.base.name == program.name) {
                Some(at) => {
                    let entry = old.remove(at);
                    self.entries.push(entry);
                    let e = self.entries.len() - 1;
                    self.change(e, program, &mut to_start);
                }
                None => {
                    if program.autostart {
                        to_start.push(program.name.clone());
                    }
                    self.entries.push(Entry::new(program));
                }
            }
        }
        for mut entry in old {
            entry.removed = true;
            for slot in &mut entry.slots {
                slot.goal = Goal::Down;
                slot.reload_wanted = false;
            }
            self.entries.push(entry);
        }
        for name in to_start {
            if let Some(e) = self.entries.iter().position(|entry| entry.base.name == name) {
                self.want(e);
            }
        }
        let code = self.places(|entry, slot| entry.program.holds_code && slot.main.is_some());
        self.reload(&code, None);
        let all = self.places(|_, slot| !slot.retired && slot.goal != Goal::Down);
        self.owe(ticket, all, Awaited::Reloaded);
    }

    /// The row of an entry may have changed.
    fn change(&mut self, e: usize, program: Program, to_start: &mut Vec<String>) {
        let entry = &mut self.entries[e];
        if entry.removed || (program.autostart && !entry.base.autostart) {
            to_start.push(program.name.clone());
        }
        entry.removed = false;
        if entry.base == program {
            return;
        }
        if configured_number(&entry.base) != configured_number(&program) || entry.base.scale != program.scale
        {
            entry.scaled = None;
        }
        let scaled = Entry::effective(&program, entry.scaled);
        entry.base = program;
        self.adopt(e, scaled);
    }

    /// `program` becomes what counts for the entry: instances are added, retired and reloaded as it needs.
    pub(super) fn adopt(&mut self, e: usize, program: Program) {
        let entry = &mut self.entries[e];
        let count = program.processes;
        entry.program = Arc::new(program);
        let up = entry.slots.iter().all(|slot| slot.retired)
            || entry.slots.iter().any(|slot| slot.goal != Goal::Down);
        for index in 0..count {
            match entry.slots.iter_mut().find(|slot| slot.index == index) {
                Some(slot) if slot.retired => {
                    slot.retired = false;
                    slot.want_up();
                }
                Some(_) => {}
                None => {
                    let mut slot = Slot::new(index);
                    if up {
                        slot.want_up();
                    }
                    entry.slots.push(slot);
                }
            }
        }
        entry.slots.sort_by_key(|slot| slot.index);
        for slot in &mut entry.slots {
            if slot.index >= count {
                slot.retired = true;
                slot.goal = Goal::Down;
                slot.reload_wanted = false;
                continue;
            }
            let same = |p: &super::Process| p.program.same_process(&entry.program);
            let stale = slot.main.as_ref().is_some_and(|p| !same(p))
                || slot.incoming.as_ref().is_some_and(|p| !same(p));
            if stale && slot.goal == Goal::Up {
                slot.reload_error = None;
                slot.reload_after = Now::ZERO;
                slot.reload_wanted = true;
            } else if slot.main.is_none()
                && matches!(slot.rest, Rest::Backoff { .. } | Rest::Fatal | Rest::Exited)
            {
                // It was given up on, or waits, with a row that is no more.
                slot.want_up();
            }
        }
    }
}

/// The number that `scale` overrides.
fn configured_number(program: &Program) -> Option<String> {
    match program.scale {
        Scale::Processes => Some(program.processes.to_string()),
        Scale::Argument(at) => program.command.get(at).cloned(),
        Scale::Fixed => None,
    }
}
