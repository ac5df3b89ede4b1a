//! What becomes of an instance when one of its processes gets ready, ends, or cannot be started.

use super::slot::{Goal, Phase, Process, Rest, Verdict};
use super::{Effect, ExitStatus, GENERATION_GAP, Machine, Now, RunId};
use crate::spec::{Reload, Restart};

/// Which process of an instance ended.
enum Role {
    Main,
    Incoming,
    Draining,
}

impl Machine {
    /// A process is ready. An incoming one takes the place of the main one.
    pub(super) fn ready(&mut self, now: Now, run: RunId) {
        let Some((e, s)) = self.find(run) else { return };
        let name = self.entries[e].name_of(s);
        let slot = &mut self.entries[e].slots[s];
        let Some(process) = slot.processes_mut().find(|p| p.run == run && p.phase == Phase::Starting) else {
            return;
        };
        process.phase = Phase::Running;
        process.ready_at = Some(now);
        process.next_probe = None;
        slot.failures = 0;
        slot.reason.clear();
        if slot.incoming.as_ref().is_none_or(|p| p.run != run) {
            return self.say(name, "ready");
        }
        let new = slot.incoming.take();
        let old = std::mem::replace(&mut slot.main, new);
        if let Some(mut old) = old {
            let text =
                format!("generation {} is ready, generation {} drains", slot.generation, old.generation);
            old.stop(now, Verdict::Asked, &mut self.effects);
            slot.draining.push(old);
            self.say(name, text);
        }
    }

    pub(super) fn probed(&mut self, now: Now, run: RunId, result: Result<(), String>) {
        match result {
            Ok(()) => self.ready(now, run),
            Err(why) => self.with(run, |process| {
                process.probe_said = why;
                process.next_probe = Some(process.probe_again(now));
            }),
        }
    }

    pub(super) fn generation_wanted(&mut self, now: Now, run: RunId) {
        let Some((e, s)) = self.find(run) else { return };
        let name = self.entries[e].name_of(s);
        let overlap = !matches!(self.entries[e].program.reload, Reload::Signal(_));
        let slot = &mut self.entries[e].slots[s];
        let Some(main) = slot.main.as_ref().filter(|p| p.run == run && !p.is_stopping()) else { return };
        if overlap && !slot.reload_wanted {
            slot.reload_wanted = true;
            slot.reload_error = None;
            slot.reload_after = (main.started + GENERATION_GAP).max(now);
            self.say(name, "asks for a new generation of itself");
        }
    }

    pub(super) fn memory(&mut self, now: Now, run: RunId, bytes: u64) {
        let Some((e, s)) = self.find(run) else { return };
        let name = self.entries[e].name_of(s);
        let entry = &mut self.entries[e];
        let overlap = entry.program.reload == Reload::Overlap;
        let limit = entry.program.memory_limit;
        let slot = &mut entry.slots[s];
        let Some(main) = slot.main.as_mut().filter(|p| p.run == run && !p.is_stopping()) else { return };
        let Some(limit) = limit.filter(|limit| bytes > *limit) else { return };
        if overlap && main.is_running() {
            if slot.reload_wanted || slot.incoming.is_some() {
                return;
            }
            slot.reload_wanted = true;
            slot.reload_error = None;
            slot.reload_after = (main.started + GENERATION_GAP).max(now);
            slot.restarts += 1;
        } else {
            main.stop(now, Verdict::TooLarge, &mut self.effects);
        }
        let (size, limit) = (regie_core::ByteSize(bytes), regie_core::ByteSize(limit));
        self.say(name, format!("holds {size}, more than its limit of {limit}: a new one takes its place"));
    }

    pub(super) fn spawn_failed(&mut self, now: Now, run: RunId, why: String) {
        self.with(run, |process| process.verdict = Verdict::NotReady(why));
        self.finish(now, run);
    }

    /// The process itself has ended; it is dead when its tree is.
    pub(super) fn exited(&mut self, now: Now, run: RunId, status: ExitStatus, rest: bool) {
        let Some((e, s)) = self.find(run) else { return };
        self.entries[e].slots[s].last_exit = Some(status);
        let effects = &mut self.effects;
        let process = self.entries[e].slots[s].processes_mut().find(|p| p.run == run);
        if let Some(process) = process {
            process.ended = Some(status);
            process.next_probe = None;
            if rest {
                process.stop_rest(now, effects);
                return;
            }
        }
        self.finish(now, run);
    }

    /// A process and its tree are dead.
    pub(super) fn finish(&mut self, now: Now, run: RunId) {
        let Some((e, s)) = self.find(run) else { return };
        let slot = &mut self.entries[e].slots[s];
        let (role, process) = if slot.main.as_ref().is_some_and(|p| p.run == run) {
            (Role::Main, slot.main.take())
        } else if slot.incoming.as_ref().is_some_and(|p| p.run == run) {
            (Role::Incoming, slot.incoming.take())
        } else {
            let at = slot.draining.iter().position(|p| p.run == run);
            (Role::Draining, at.map(|at| slot.draining.remove(at)))
        };
        let Some(process) = process else { return };
        match role {
            Role::Draining => {
                let name = self.entries[e].name_of(s);
                self.say(name, format!("generation {} has drained", process.generation));
            }
            Role::Incoming => self.incoming_failed(e, s, &process),
            Role::Main => self.main_ended(now, e, s, &process),
        }
    }

    fn incoming_failed(&mut self, e: usize, s: usize, process: &Process) {
        if process.verdict == Verdict::Asked {
            return;
        }
        let name = self.entries[e].name_of(s);
        let why = failure(process);
        let text =
            format!("generation {} did not get ready ({why}): the running one stays", process.generation);
        self.entries[e].slots[s].reload_error = Some(format!("the new generation did not get ready: {why}"));
        self.abandon_reload(e, &name);
        self.say(name, text);
    }

    /// One instance could not be reloaded: its siblings stay as they are.
    fn abandon_reload(&mut self, e: usize, failed: &str) {
        for slot in self.entries[e].slots.iter_mut().filter(|slot| slot.reload_wanted) {
            slot.reload_wanted = false;
            slot.reload_error = Some(format!("not reloaded, because {failed} failed"));
        }
    }

    fn main_ended(&mut self, now: Now, e: usize, s: usize, process: &Process) {
        let name = self.entries[e].name_of(s);
        let entry = &mut self.entries[e];
        let (restart, forget_after) = (entry.program.restart.clone(), entry.program.backoff.forget_after);
        let slot = &mut entry.slots[s];
        if process.verdict == Verdict::Asked || slot.goal != Goal::Up {
            slot.rest = if slot.goal == Goal::Up { Rest::Due } else { Rest::Stopped };
            // Where one was waiting to take over, it still does.
            slot.main = slot.incoming.take();
            let text =
                process.ended.map_or_else(|| "stopped".to_owned(), |status| format!("stopped ({status})"));
            return self.say(name, text);
        }
        let lived = process.ready_at.map(|at| now.saturating_sub(at));
        let why = failure(process);
        if let Some(next) = slot.incoming.take() {
            slot.main = Some(next);
            slot.restarts += 1;
            return self.say(name, format!("{why}; the next generation is on its way already"));
        }
        let Some(lived) = lived.filter(|_| !matches!(process.verdict, Verdict::NotReady(_))) else {
            return self.start_failed(now, e, s, why);
        };
        let again = match &restart {
            Restart::Always => true,
            Restart::Unexpected(_) => !restart.expects(process.ended.and_then(ExitStatus::code)),
            Restart::Never => false,
        };
        if !again && process.verdict != Verdict::TooLarge {
            slot.rest = Rest::Exited;
            return self.say(name, why);
        }
        slot.restarts += 1;
        slot.streak = if lived >= forget_after { 0 } else { slot.streak + 1 };
        let streak = slot.streak;
        if streak <= 1 {
            slot.rest = Rest::Due;
            return self.say(name, format!("{why}; starting again"));
        }
        self.back_off(now, e, s, streak - 1, &why);
    }

    fn start_failed(&mut self, now: Now, e: usize, s: usize, why: String) {
        let name = self.entries[e].name_of(s);
        let retries = self.entries[e].program.start_retries;
        let slot = &mut self.entries[e].slots[s];
        slot.failures += 1;
        slot.restarts += u64::from(slot.failures <= retries);
        let failures = slot.failures;
        if failures <= retries {
            return self.back_off(now, e, s, failures, &why);
        }
        slot.rest = Rest::Fatal;
        slot.reload_wanted = false;
        slot.reason.clone_from(&why);
        self.abandon_reload(e, &name);
        self.say(name.clone(), format!("{why}; gave up after {failures} tries"));
        if self.policy.exit_on_fatal && self.is_serving() {
            self.outcome.fatal = Some((name, why));
            self.begin_shutdown(now, false);
        }
    }

    fn back_off(&mut self, now: Now, e: usize, s: usize, retry: u32, why: &str) {
        let chance = self.chance();
        let name = self.entries[e].name_of(s);
        let delay = self.entries[e].program.backoff.delay(retry, chance);
        let slot = &mut self.entries[e].slots[s];
        slot.rest = Rest::Backoff { until: now + delay };
        why.clone_into(&mut slot.reason);
        self.say(name, format!("{why}; next start in {:.1}s", delay.as_secs_f64()));
    }

    /// Starts a process in a slot: as the main one, or beside it.
    pub(super) fn spawn(&mut self, now: Now, e: usize, s: usize, beside: bool) {
        let run = RunId(self.next_run);
        self.next_run += 1;
        let entry = &mut self.entries[e];
        let name = entry.name_of(s);
        let program = entry.program.clone();
        let slot = &mut entry.slots[s];
        if slot.fresh || beside || slot.generation == 0 {
            slot.generation += 1;
        }
        slot.fresh = false;
        slot.reason.clear();
        let process = Process::new(run, slot.generation, program.clone(), now);
        let (index, generation) = (slot.index, slot.generation);
        if beside {
            slot.incoming = Some(process);
        } else {
            slot.main = Some(process);
        }
        self.effects.push(Effect::Spawn { run, program, name, index, generation });
    }
}

/// Why a process is no more, for people.
fn failure(process: &Process) -> String {
    match (&process.verdict, process.ended) {
        (Verdict::NotReady(why), _) => why.clone(),
        (Verdict::TooLarge, _) => "stopped for its size".to_owned(),
        (_, Some(status)) if process.ready_at.is_none() => format!("ended before it was ready ({status})"),
        (_, Some(status)) => format!("ended by itself ({status})"),
        (_, None) => "ended".to_owned(),
    }
}
