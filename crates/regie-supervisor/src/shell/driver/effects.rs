//! What the machine decides is done here.

use super::Driver;
use crate::machine::{Effect, Event, Moment};
use crate::shell::logs::SELF;

impl Driver {
    /// Carries out an effect; some have an answer.
    pub(super) fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Spawn { run, program, name, generation, .. } => {
                return Some(self.spawn(run, program, name, generation));
            }
            Effect::Signal { run, signal, target } => self.signal(run, signal, target),
            Effect::Probe { run } => return self.probe(run),
            Effect::Say { name, text } => self.logs.event(&name, text),
            Effect::Reply { ticket, reply } => self.reply(ticket, &reply),
            Effect::Moment(moment) => {
                self.logs.event(SELF, describe(&moment));
                if let Some(hear) = &mut self.on_moment {
                    hear(&moment);
                }
            }
            Effect::Exit(outcome) => self.outcome = Some(outcome),
        }
        None
    }
}

fn describe(moment: &Moment) -> String {
    match moment {
        Moment::Up { fatal } if fatal.is_empty() => "all is up".to_owned(),
        Moment::Up { fatal } => format!("up, without {}", fatal.join(", ")),
        Moment::Draining => "stopping all: nothing new is taken, what was begun is finished".to_owned(),
        Moment::Cutting => "what is left is killed".to_owned(),
    }
}
