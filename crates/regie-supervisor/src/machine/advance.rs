//! Brings what is closer to what is wanted, as far as it can be done now.
//!
//! Every event only notes facts and wishes; here they are put together, again and again until nothing changes.
//! That way no order of events can leave a step out.

use regie_core::StopPhase;

use super::slot::{Goal, Phase, Rest, Verdict};
use super::{Effect, KILL_GRACE, MAX_DRAINING, Machine, Moment, Now};
use crate::spec::{Readiness, Reload};

impl Machine {
    pub(super) fn advance(&mut self, now: Now) {
        self.phases(now);
        loop {
            let mut changed = self.processes_due(now);
            changed |= self.stops(now);
            changed |= self.bounces();
            changed |= self.reloads(now);
            changed |= self.starts(now);
            if !changed {
                break;
            }
        }
        self.drop_dead();
        self.tell_up();
        self.answer();
        self.tell_exit();
    }

    fn phases(&mut self, now: Now) {
        if self.phase == StopPhase::Draining && self.phase_until.is_some_and(|until| now >= until) {
            self.begin_cutting(now);
        } else if self.phase == StopPhase::Cutting && self.phase_until.is_some_and(|until| now >= until) {
            let alive = |e: &super::Entry| {
                (0..e.slots.len()).filter(|s| e.slots[*s].is_alive()).map(|s| e.name_of(s)).collect()
            };
            self.outcome.left = self.entries.iter().flat_map(|e| -> Vec<String> { alive(e) }).collect();
            self.phase = StopPhase::Stopped;
            self.phase_until = None;
        }
    }

    pub(super) fn begin_shutdown(&mut self, now: Now, fast: bool) {
        if self.phase == StopPhase::Running {
            self.phase = StopPhase::Draining;
            self.phase_until = Some(now + self.policy.stop_limit);
            for slot in self.entries.iter_mut().flat_map(|e| &mut e.slots) {
                slot.goal = Goal::Down;
                slot.reload_wanted = false;
            }
            self.effects.push(Effect::Moment(Moment::Draining));
        }
        if fast && self.phase == StopPhase::Draining {
            self.begin_cutting(now);
        }
    }

    fn begin_cutting(&mut self, now: Now) {
        self.phase = StopPhase::Cutting;
        self.phase_until = Some(now + KILL_GRACE);
        self.effects.push(Effect::Moment(Moment::Cutting));
        for entry in &mut self.entries {
            let names: Vec<String> = (0..entry.slots.len()).map(|s| entry.name_of(s)).collect();
            for (slot, name) in entry.slots.iter_mut().zip(names) {
                for process in slot.processes_mut() {
                    process.kill(now, &mut self.effects);
                    if !self.outcome.cut.contains(&name) {
                        self.outcome.cut.push(name.clone());
                    }
                }
            }
        }
    }

    /// What processes have waited for has come: readiness by age, a probe, a failed start, the next stop signal.
    fn processes_due(&mut self, now: Now) -> bool {
        let due = |p: &super::Process| p.next_deadline().is_some_and(|at| now >= at);
        let runs: Vec<_> = self
            .entries
            .iter()
            .flat_map(|e| &e.slots)
            .flat_map(super::Slot::processes)
            .filter(|p| due(p))
            .map(|p| p.run)
            .collect();
        for run in &runs {
            self.process_due(now, *run);
        }
        !runs.is_empty()
    }

    fn process_due(&mut self, now: Now, run: super::RunId) {
        let Some((e, s)) = self.find(run) else { return };
        let name = self.entries[e].name_of(s);
        let Some(process) = self.entries[e].slots[s].processes_mut().find(|p| p.run == run) else { return };
        match process.phase {
            Phase::Starting if now >= process.start_ends() => {
                if matches!(process.program.ready, Readiness::Time(_)) {
                    return self.ready(now, run);
                }
                let limit = regie_core::Span(process.program.ready_timeout);
                let said = if process.probe_said.is_empty() {
                    String::new()
                } else {
                    format!(": {}", process.probe_said)
                };
                let why = format!("not ready within {limit}{said}");
                process.stop(now, Verdict::NotReady(why.clone()), &mut self.effects);
                self.say(name, why);
            }
            Phase::Starting => {
                // Not again before its result, which sets the next time.
                process.next_probe = None;
                self.effects.push(Effect::Probe { run });
            }
            Phase::Running => {}
            Phase::Stopping { .. } => {
                let again = process.is_killed();
                let kills = process.escalate(now, &mut self.effects);
                if kills && !again {
                    let limit = regie_core::Span(process.program.stop.limit());
                    if !self.is_serving() && !self.outcome.cut.contains(&name) {
                        self.outcome.cut.push(name.clone());
                    }
                    self.say(name, format!("did not stop within {limit}: killed"));
                }
            }
        }
    }

    /// Instances that are to go down go, dependants first.
    fn stops(&mut self, now: Now) -> bool {
        let mut changed = false;
        for e in 0..self.entries.len() {
            if self.entries[e].slots.iter().all(|slot| slot.goal == Goal::Up) || !self.may_stop(e) {
                continue;
            }
            for slot in self.entries[e].slots.iter_mut().filter(|slot| slot.goal != Goal::Up) {
                if slot.main.is_none() && matches!(slot.rest, Rest::Due | Rest::Backoff { .. }) {
                    slot.rest = Rest::Stopped;
                    slot.reason.clear();
                    changed = true;
                }
                for process in slot.processes_mut().filter(|p| !p.is_stopping()) {
                    process.stop(now, Verdict::Asked, &mut self.effects);
                    changed = true;
                }
            }
        }
        changed
    }

    /// No program that depends on this one, and is going down as well, is alive.
    fn may_stop(&self, e: usize) -> bool {
        let dependants = self.dependants(e);
        dependants
            .iter()
            .all(|d| self.entries[*d].slots.iter().all(|slot| slot.goal == Goal::Up || !slot.is_alive()))
    }

    /// Restarted instances go up again when they are dead, and so is all that they depend on and is restarted too.
    fn bounces(&mut self) -> bool {
        let mut changed = false;
        for e in 0..self.entries.len() {
            let bounces = |entry: &super::Entry| entry.slots.iter().any(|slot| slot.goal == Goal::Bounce);
            if !bounces(&self.entries[e]) || self.dependencies(e).iter().any(|d| bounces(&self.entries[*d])) {
                continue;
            }
            for slot in &mut self.entries[e].slots {
                if slot.goal == Goal::Bounce && !slot.is_alive() {
                    slot.want_up();
                    changed = true;
                }
            }
        }
        changed
    }

    fn starts(&mut self, now: Now) -> bool {
        if !self.is_serving() {
            return false;
        }
        let mut changed = false;
        for e in 0..self.entries.len() {
            let due = |slot: &super::Slot| {
                slot.goal == Goal::Up
                    && slot.main.is_none()
                    && match slot.rest {
                        Rest::Due => true,
                        Rest::Backoff { until } => now >= until,
                        _ => false,
                    }
            };
            let slots: Vec<usize> =
                (0..self.entries[e].slots.len()).filter(|s| due(&self.entries[e].slots[*s])).collect();
            if slots.is_empty() {
                continue;
            }
            let waits = self.unsatisfied(e);
            for s in slots {
                if waits.is_empty() {
                    self.spawn(now, e, s, false);
                    changed = true;
                } else {
                    let slot = &mut self.entries[e].slots[s];
                    slot.rest = Rest::Due;
                    slot.reason = format!("waits for {}", waits.join(", "));
                }
            }
        }
        changed
    }

    /// Grants wishes to be reloaded, one instance of a program at a time.
    fn reloads(&mut self, now: Now) -> bool {
        let mut changed = false;
        for e in 0..self.entries.len() {
            for s in 0..self.entries[e].slots.len() {
                if self.entries[e].slots[s].reload_wanted {
                    changed |= self.reload_slot(now, e, s);
                }
            }
        }
        changed
    }

    fn reload_slot(&mut self, now: Now, e: usize, s: usize) -> bool {
        let entry = &self.entries[e];
        // Siblings that wait for a program that will not come are not waited for.
        let blocked = self.blocked(e);
        let between = |slot: &super::Slot| slot.is_between() && (slot.main.is_some() || blocked.is_none());
        let others_between = (0..entry.slots.len()).any(|other| other != s && between(&entry.slots[other]));
        let program = entry.program.clone();
        let name = entry.name_of(s);
        let effects = &mut self.effects;
        let slot = &mut self.entries[e].slots[s];
        if now >= slot.reload_after {
            // A deadline that has passed is none; what else it waits for is told by an event.
            slot.reload_after = Now::ZERO;
        }
        if slot.goal != Goal::Up || slot.main.is_none() {
            // Whatever starts next is new anyway.
            slot.reload_wanted = false;
            if slot.goal == Goal::Up && matches!(slot.rest, Rest::Backoff { .. } | Rest::Fatal) {
                slot.want_up();
            }
            slot.fresh = true;
            return true;
        }
        let Some(main) = &mut slot.main else { return false };
        let stale = !main.program.same_process(&program);
        match main.phase {
            // On its way out, and a new one follows.
            Phase::Stopping { .. } => {
                slot.reload_wanted = false;
                slot.fresh = true;
                return true;
            }
            Phase::Starting if stale => {
                main.stop(now, Verdict::Asked, effects);
                slot.reload_wanted = false;
                slot.fresh = true;
                return true;
            }
            Phase::Starting => return false,
            Phase::Running => {}
        }
        if others_between || now < slot.reload_after {
            return false;
        }
        match program.reload {
            Reload::Signal(signal) if !stale => {
                effects.push(Effect::Signal { run: main.run, signal, target: super::Target::Main });
                self.say(name, format!("{signal} sent: reload"));
            }
            Reload::Overlap => {
                if slot.incoming.is_some() || slot.draining.len() >= MAX_DRAINING {
                    return false;
                }
                self.entries[e].slots[s].reload_wanted = false;
                self.spawn(now, e, s, true);
                return true;
            }
            Reload::Restart | Reload::Signal(_) if blocked.is_some() => {
                // Stopped now, it could not start again.
                slot.reload_error = blocked.map(|why| format!("not reloaded: it {why}"));
            }
            Reload::Restart | Reload::Signal(_) => {
                main.stop(now, Verdict::Asked, effects);
                slot.fresh = true;
            }
        }
        self.entries[e].slots[s].reload_wanted = false;
        true
    }

    fn drop_dead(&mut self) {
        for entry in &mut self.entries {
            entry.slots.retain(|slot| !slot.retired || slot.is_alive());
        }
        self.entries.retain(|entry| !entry.removed || entry.is_alive());
    }

    fn tell_up(&mut self) {
        if self.up_told || !self.is_serving() {
            return;
        }
        let open = (0..self.entries.len()).any(|e| {
            let between = self.entries[e].slots.iter().any(super::Slot::is_between);
            between && self.blocked(e).is_none()
        });
        if !open {
            self.up_told = true;
            let mut fatal = Vec::new();
            for entry in &self.entries {
                let lost = (0..entry.slots.len())
                    .filter(|s| entry.slots[*s].rest == Rest::Fatal && entry.slots[*s].main.is_none());
                fatal.extend(lost.map(|s| entry.name_of(s)));
            }
            self.effects.push(Effect::Moment(Moment::Up { fatal }));
        }
    }

    fn tell_exit(&mut self) {
        let over = match self.phase {
            StopPhase::Running => false,
            StopPhase::Stopped => true,
            StopPhase::Draining | StopPhase::Cutting => !self.entries.iter().any(super::Entry::is_alive),
        };
        if over && !self.exit_told {
            self.exit_told = true;
            self.phase = StopPhase::Stopped;
            self.effects.push(Effect::Exit(self.outcome.clone()));
        }
    }

    /// Names of the programs that this one still has to wait for.
    pub(super) fn unsatisfied(&self, e: usize) -> Vec<String> {
        self.direct(e)
            .filter(|d| !self.entries[*d].is_satisfied())
            .map(|d| self.entries[d].program.name.clone())
            .collect()
    }

    /// What this program waits for and will not get unless somebody does something.
    pub(super) fn blocked(&self, e: usize) -> Option<String> {
        self.dependencies(e).into_iter().find_map(|d| {
            let entry = &self.entries[d];
            let slot = entry.slots.iter().find(|slot| {
                slot.main.is_none()
                    && match slot.rest {
                        Rest::Fatal => true,
                        Rest::Exited => !slot.ended_well(&entry.program),
                        _ => slot.goal == Goal::Down,
                    }
            })?;
            Some(format!("waits for {}, which is {}", entry.program.name, slot.state().as_str()))
        })
    }

    /// What it depends on directly.
    fn direct(&self, e: usize) -> impl Iterator<Item = usize> {
        let names = &self.entries[e].program.depends_on;
        (0..self.entries.len()).filter(move |d| *d != e && names.contains(&self.entries[*d].program.name))
    }

    /// All it depends on, directly or not.
    pub(super) fn dependencies(&self, e: usize) -> Vec<usize> {
        let mut found: Vec<usize> = Vec::new();
        let mut open = vec![e];
        while let Some(next) = open.pop() {
            for d in self.direct(next) {
                if d != e && !found.contains(&d) {
                    found.push(d);
                    open.push(d);
                }
            }
        }
        found
    }

    /// All that depend on it, directly or not.
    fn dependants(&self, e: usize) -> Vec<usize> {
        (0..self.entries.len())
            .filter(|other| *other != e && self.dependencies(*other).contains(&e))
            .collect()
    }
}
