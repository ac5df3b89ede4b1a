//! Scheduled tasks: cron lines of regie.toml and the application's own schedule.
//!
//! - [`when`]: the instants at which an expression is due in its time zone, on the days when the clocks are changed
//!   too.
//! - [`timetable`]: what is due now, what was missed, and when to look again. Pure.
//! - [`history`]: what became of each run.
//! - [`shell`]: processes, files and the clock.
//!
//! What an application schedules itself stays its framework's business. Laravel's own `schedule:run` decides what
//! runs, with its filters, mutexes and hooks; it is started only in minutes in which something is due. So moving
//! from cron to Régie changes no semantics.
#![forbid(unsafe_code)]

pub mod history;
pub mod shell;
pub mod timetable;
pub mod when;

pub use history::{Outcome, Run};
pub use timetable::{Due, Missed, Task, Timetable};
pub use when::{Reading, When};
