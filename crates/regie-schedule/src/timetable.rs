//! What is due, given the time.
//!
//! The table is asked at any moment with [`Timetable::due`] and says when to ask again with [`Timetable::next`].
//! It is asked late when the machine slept, the process was stopped or the clock was set: what lies further back
//! than [`LATE`] was missed, and each task says what then. A task is due once for all the times that were missed
//! together.
//!
//! A clock that is set back does not run again what ran: the table waits until the clock is past its last time.
//! Set back by more than [`BACK`], it is taken for corrected, and the table starts from there, as in cron(8).

use jiff::{SignedDuration, Timestamp};

use crate::when::When;

/// How late a task may be started without having been missed.
pub const LATE: SignedDuration = SignedDuration::from_secs(60);

/// By how much a clock may be set back before the new time is taken as it is.
pub const BACK: SignedDuration = SignedDuration::from_hours(3);

/// What happens to a time that passed while nobody looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// Nothing: the next time is its next time.
    #[default]
    Skip,
    /// It runs once, as soon as somebody looks.
    Run,
}

/// A row: something that is due at times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its name, unique in the table.
    pub name: String,
    /// Its times.
    pub when: When,
    /// What happens to a missed time.
    pub missed: Missed,
}

/// Something that is due now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due<'t> {
    /// What.
    pub task: &'t Task,
    /// Its time. With several missed ones, the last.
    pub at: Timestamp,
    /// Whether it is [`LATE`].
    pub is_late: bool,
}

/// The rows, and how far each has come.
#[derive(Debug, Clone)]
pub struct Timetable {
    rows: Vec<Row>,
}

#[derive(Debug, Clone)]
struct Row {
    task: Task,
    /// All its times up to here are settled.
    settled: Timestamp,
    next: Option<Timestamp>,
}

impl Timetable {
    /// A table in which everything up to `settled(name)` has been looked at; for a task that is new, up to `now`.
    pub fn new(tasks: Vec<Task>, now: Timestamp, settled: impl Fn(&str) -> Option<Timestamp>) -> Self {
        let row = |task: Task| {
            // A time in the future is no memory, but a clock that was wrong.
            let settled = settled(&task.name).filter(|at| *at <= now + BACK).unwrap_or(now);
            Row { next: task.when.next(settled), settled, task }
        };
        Self { rows: tasks.into_iter().map(row).collect() }
    }

    /// What is due at `now`, in the order of the rows. Each is told once.
    pub fn due(&mut self, now: Timestamp) -> Vec<Due<'_>> {
        let mut due = Vec::new();
        for row in &mut self.rows {
            if row.settled > now + BACK {
                row.settled = now;
                row.next = row.task.when.next(now);
            }
            let Some(mut at) = row.next.filter(|at| *at <= now) else { continue };
            // The last of them, without counting through the days of a long sleep.
            let recent = now - LATE;
            if at < recent {
                at = row.task.when.next(recent).filter(|later| *later <= now).unwrap_or(at);
            }
            row.settled = now;
            row.next = row.task.when.next(now);
            let is_late = at < recent;
            if !is_late || row.task.missed == Missed::Run {
                due.push(Due { task: &row.task, at, is_late });
            }
        }
        due
    }

    /// When something is due next.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        self.rows.iter().filter_map(|row| row.next).min()
    }

    /// Each task with its next time.
    pub fn rows(&self) -> impl Iterator<Item = (&Task, Option<Timestamp>)> {
        self.rows.iter().map(|row| (&row.task, row.next))
    }

    /// Up to when each task's times are settled: what [`Timetable::new`] asks for after a restart.
    pub fn settled(&self) -> impl Iterator<Item = (&str, Timestamp)> {
        self.rows.iter().map(|row| (row.task.name.as_str(), row.settled))
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::when::Reading;

    fn task(name: &str, expression: &str, missed: Missed) -> Task {
        let expression = expression.parse().unwrap();
        let when = When { expression, zone: TimeZone::UTC, reading: Reading::Once };
        Task { name: name.to_owned(), when, missed }
    }

    fn at(time: &str) -> Timestamp {
        format!("2026-11-21T{time}Z").parse().unwrap()
    }

    fn names(due: &[Due<'_>]) -> Vec<String> {
        due.iter().map(|due| format!("{}{}", due.task.name, if due.is_late { " late" } else { "" })).collect()
    }

    #[test]
    fn what_is_due_is_told_once() {
        let tasks = vec![task("a", "* * * * *", Missed::Skip), task("b", "*/5 * * * *", Missed::Skip)];
        let mut table = Timetable::new(tasks, at("10:03:20"), |_| None);
        assert_eq!(table.next(), Some(at("10:04:00")));
        assert!(table.due(at("10:03:59")).is_empty());
        assert_eq!(names(&table.due(at("10:04:00"))), ["a"]);
        assert!(table.due(at("10:04:30")).is_empty());
        assert_eq!(names(&table.due(at("10:05:01"))), ["a", "b"]);
        assert_eq!(table.next(), Some(at("10:06:00")));
    }

    #[test]
    fn a_missed_time_is_left_out_or_made_up_for_once() {
        let tasks = || vec![task("skip", "0 * * * *", Missed::Skip), task("run", "0 * * * *", Missed::Run)];
        let mut table = Timetable::new(tasks(), at("10:03:00"), |_| None);
        let due = table.due(at("14:30:00"));
        assert_eq!(names(&due), ["run late"]);
        assert_eq!(table.next(), Some(at("15:00:00")));
        // A minute late is not missed, and the times before it are not made up for.
        let mut table = Timetable::new(tasks(), at("10:03:00"), |_| None);
        let due = table.due(at("14:00:59"));
        assert_eq!(names(&due), ["skip", "run"]);
        assert_eq!(due[0].at, at("14:00:00"));
    }

    #[test]
    fn a_restart_goes_on_where_it_was() {
        let tasks = vec![task("skip", "0 * * * *", Missed::Skip), task("run", "0 * * * *", Missed::Run)];
        let mut table = Timetable::new(tasks, at("12:30:00"), |_| Some(at("11:30:00")));
        assert_eq!(names(&table.due(at("12:30:00"))), ["run late"]);
    }

    #[test]
    fn a_clock_set_back_repeats_nothing() {
        let mut table =
            Timetable::new(vec![task("a", "*/10 * * * *", Missed::Run)], at("10:00:01"), |_| None);
        assert_eq!(names(&table.due(at("11:00:00"))), ["a"]);
        for back in ["10:20:00", "10:30:01", "10:59:59", "11:00:00"] {
            assert!(table.due(at(back)).is_empty(), "{back}");
        }
        assert_eq!(names(&table.due(at("11:10:00"))), ["a"]);
        // By many hours: the clock was wrong before.
        assert!(table.due(at("02:00:00")).is_empty());
        assert_eq!(table.next(), Some(at("02:10:00")));
        assert_eq!(names(&table.due(at("02:10:00"))), ["a"]);
    }
}
