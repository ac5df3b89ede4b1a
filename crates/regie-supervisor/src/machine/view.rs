//! How everything stands, for `status`.

use super::slot::{Phase, Rest, Slot};
use super::{Machine, Now, RunId};
use crate::control::StatusRow;

/// An instance as the machine knows it; the driver adds what it has measured.
#[derive(Debug, Clone)]
pub struct InstanceView {
    /// The main process.
    pub run: Option<RunId>,
    /// Everything but memory and processor time.
    pub row: StatusRow,
}

impl Machine {
    /// All instances, in table order.
    #[must_use]
    pub fn view(&self, now: Now) -> Vec<InstanceView> {
        let mut views = Vec::new();
        for (e, entry) in self.entries.iter().enumerate() {
            for (s, slot) in entry.slots.iter().enumerate() {
                let main = slot.main.as_ref();
                let pid = main.filter(|p| p.ended.is_none()).and_then(|p| p.pid);
                let row = StatusRow {
                    name: entry.name_of(s),
                    program: entry.program.name.clone(),
                    group: entry.program.group.clone(),
                    state: slot.state(),
                    pid,
                    uptime_ms: main.map(|p| {
                        u64::try_from(now.saturating_sub(p.started).as_millis()).unwrap_or(u64::MAX)
                    }),
                    restarts: slot.restarts,
                    exit: slot.last_exit.map(|status| status.to_string()),
                    memory: None,
                    cpu_percent: None,
                    generation: main.map_or(slot.generation, |p| p.generation),
                    draining: slot.draining.iter().map(|p| p.generation).collect(),
                    description: self.describe(now, e, slot),
                };
                views.push(InstanceView { run: main.map(|p| p.run), row });
            }
        }
        views
    }

    /// Whether `pattern` means anything.
    #[must_use]
    pub fn knows(&self, pattern: &str) -> bool {
        self.entries.iter().any(|entry| {
            crate::pattern::matches(pattern, &entry.program, &entry.program.name)
                || (0..entry.slots.len())
                    .any(|s| crate::pattern::matches(pattern, &entry.program, &entry.name_of(s)))
        })
    }

    /// Whether `pattern` means the instance called `name`.
    #[must_use]
    pub fn means(&self, pattern: &str, name: &str) -> bool {
        self.entries.iter().any(|entry| {
            (0..entry.slots.len()).any(|s| {
                let own = entry.name_of(s);
                own == name && crate::pattern::matches(pattern, &entry.program, &own)
            })
        })
    }

    fn describe(&self, now: Now, e: usize, slot: &Slot) -> String {
        let seconds = |until: Now| until.saturating_sub(now).as_secs_f64();
        if let Some(main) = &slot.main {
            return match main.phase {
                Phase::Stopping { .. } if main.is_killed() => "SIGKILL sent".to_owned(),
                Phase::Stopping { until, .. } => {
                    format!("told to stop, next signal in {:.0}s", seconds(until))
                }
                Phase::Starting if main.said.is_empty() => main.probe_said.clone(),
                Phase::Starting => main.said.clone(),
                Phase::Running => match (&slot.incoming, &slot.reload_error) {
                    (Some(next), _) => format!("generation {} is starting", next.generation),
                    (None, Some(error)) => error.clone(),
                    (None, None) => main.said.clone(),
                },
            };
        }
        match slot.rest {
            Rest::Backoff { until } => format!("{}; next start in {:.1}s", slot.reason, seconds(until)),
            Rest::Fatal => slot.reason.clone(),
            Rest::Due => self.blocked(e).unwrap_or_else(|| slot.reason.clone()),
            Rest::Stopped | Rest::Exited => String::new(),
        }
    }
}
