//! Cron expressions: what may be written, and the next time of the calendar that matches.
//!
//! Five fields as in crontab(5): minute, hour, day of the month, month, day of the week; or six, with seconds first.
//! A field is `*`, a number, a range `1-5`, steps `*/15`, `10-40/10` or `5/15` (from 5 on), or a list of these.
//! Months and days of the week have their English names of three letters; Sunday is 0 and 7. Days also take
//! `L` (the last day of the month), `15W` (the weekday nearest to the 15th), and days of the week `5L` (the last
//! Friday) and `1#2` (the second Monday), as in the parser that Laravel uses. `?` is `*`. `@yearly`, `@monthly`,
//! `@weekly`, `@daily`, `@midnight` and `@hourly` stand for what they say.
//!
//! Where both kinds of day are restricted, either may match: `0 0 13 * 5` is each 13th and each Friday. A field that
//! begins with `*` restricts nothing in this sense.
//!
//! Nothing here knows time zones: a [`Civil`] is what a clock on the wall shows. What that means on the days when
//! the clocks are changed is said by whoever has the zone.

mod parse;

use std::fmt;

pub use parse::CronError;

/// What calendar and clock show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Civil {
    /// The year of our calendar.
    pub year: i16,
    /// From 1.
    pub month: u8,
    /// From 1.
    pub day: u8,
    /// From 0 to 23.
    pub hour: u8,
    /// From 0 to 59.
    pub minute: u8,
    /// From 0 to 59.
    pub second: u8,
}

/// When something is due.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Expression {
    written: String,
    seconds: u64,
    minutes: u64,
    hours: u64,
    months: u64,
    days: Days,
    weekdays: Weekdays,
}

/// The days of the month.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Days {
    any: bool,
    listed: u64,
    last: bool,
    /// Each the weekday nearest to this day.
    nearest: u64,
}

/// The days of the week.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Weekdays {
    any: bool,
    listed: u64,
    /// The last such days of the month.
    last: u64,
    /// The n-th such days of the month, by n from 1 to 5.
    nth: [u64; 6],
}

/// An expression that never matches is found out after so many years: February 29th on a given day of the week comes
/// again within 40.
const YEARS_MAX: i16 = 41;

impl Expression {
    /// Whether it names single hours. A task that runs every hour goes by the time that passes, one that runs at
    /// certain hours by the clock on the wall: they differ when the clocks are changed.
    #[must_use]
    pub const fn is_at_hours(&self) -> bool {
        self.hours.count_ones() < 24
    }

    /// Whether `at` is a time at which it is due.
    #[must_use]
    pub fn matches(&self, at: Civil) -> bool {
        has(self.seconds, at.second)
            && has(self.minutes, at.minute)
            && has(self.hours, at.hour)
            && has(self.months, at.month)
            && self.matches_day(at.year, at.month, at.day)
    }

    /// The first time from `from` on that matches and lies before `until`. `None` also when there is none in the
    /// next forty years.
    #[must_use]
    pub fn first_from(&self, from: Civil, until: Option<Civil>) -> Option<Civil> {
        let last_year = from.year.saturating_add(YEARS_MAX);
        let mut at = from;
        let found = loop {
            if at.year > last_year || until.is_some_and(|until| at >= until) {
                return None;
            }
            if !has(self.months, at.month) {
                at = at.next_month();
            } else if !self.matches_day(at.year, at.month, at.day) {
                at = at.next_day();
            } else if let Some(time) = self.first_time(at) {
                break time;
            } else {
                at = at.next_day();
            }
        };
        until.is_none_or(|until| found < until).then_some(found)
    }

    /// The first matching time of `at`'s day, from `at` on.
    fn first_time(&self, at: Civil) -> Option<Civil> {
        let mut hour_from = at.hour;
        while let Some(hour) = first(self.hours, hour_from) {
            let mut minute_from = if hour == at.hour { at.minute } else { 0 };
            while let Some(minute) = first(self.minutes, minute_from) {
                let second_from = if (hour, minute) == (at.hour, at.minute) { at.second } else { 0 };
                if let Some(second) = first(self.seconds, second_from) {
                    return Some(Civil { hour, minute, second, ..at });
                }
                minute_from = minute + 1;
            }
            hour_from = hour + 1;
        }
        None
    }

    fn matches_day(&self, year: i16, month: u8, day: u8) -> bool {
        let in_month = self.days.matches(year, month, day);
        let in_week = self.weekdays.matches(year, month, day);
        match (self.days.any, self.weekdays.any) {
            // One that begins with `*` may still leave days out, as `*/2` does: then both must match.
            (true, _) | (_, true) => in_month && in_week,
            (false, false) => in_month || in_week,
        }
    }
}

impl fmt::Display for Expression {
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Days {
    fn matches(&self, year: i16, month: u8, day: u8) -> bool {
        has(self.listed, day)
            || (self.last && day == days_in(year, month))
            || (self.nearest != 0
                && (1..=31).any(|wanted| has(self.nearest, wanted) && nearest(year, month, wanted) == day))
    }
}

impl Weekdays {
    fn matches(&self, year: i16, month: u8, day: u8) -> bool {
        let weekday = weekday(year, month, day);
        has(self.listed, weekday)
            || (has(self.last, weekday) && day + 7 > days_in(year, month))
            || has(self.nth[usize::from((day - 1) / 7 + 1)], weekday)
    }
}

impl Civil {
    const fn next_day(self) -> Self {
        if self.day < days_in(self.year, self.month) {
            return Self { day: self.day + 1, hour: 0, minute: 0, second: 0, ..self };
        }
        self.next_month()
    }

    const fn next_month(self) -> Self {
        let (year, month) = if self.month == 12 { (self.year + 1, 1) } else { (self.year, self.month + 1) };
        Self { year, month, day: 1, hour: 0, minute: 0, second: 0 }
    }
}

/// The Monday to Friday nearest to `wanted` in the same month.
fn nearest(year: i16, month: u8, wanted: u8) -> u8 {
    let last = days_in(year, month);
    let wanted = wanted.min(last);
    match weekday(year, month, wanted) {
        0 if wanted == last => wanted - 2,
        0 => wanted + 1,
        6 if wanted == 1 => 3,
        6 => wanted - 1,
        _ => wanted,
    }
}

const fn days_in(year: i16, month: u8) -> u8 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// 0 for Sunday. Sakamoto's method.
fn weekday(year: i16, month: u8, day: u8) -> u8 {
    const SHIFT: [i32; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
    let year = i32::from(year) - i32::from(month < 3);
    let sum = year + year / 4 - year / 100 + year / 400 + SHIFT[usize::from(month) - 1] + i32::from(day);
    u8::try_from(sum.rem_euclid(7)).unwrap_or(0)
}

const fn has(set: u64, member: u8) -> bool {
    set >> member & 1 == 1
}

/// The least member of `set` from `from` on.
const fn first(set: u64, from: u8) -> Option<u8> {
    if from > 63 {
        return None;
    }
    let rest = set >> from << from;
    if rest == 0 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most 63")]
    Some(rest.trailing_zeros() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn civil(text: &str) -> Civil {
        let n: Vec<i16> = text.split(['-', ' ', ':']).map(|part| part.parse().unwrap()).collect();
        let small = |at: usize| n.get(at).map_or(0, |&n| u8::try_from(n).unwrap());
        Civil {
            year: n[0],
            month: small(1),
            day: small(2),
            hour: small(3),
            minute: small(4),
            second: small(5),
        }
    }

    /// Each expression, where to look from, and what comes: worked out with a calendar.
    #[test]
    fn the_next_times() {
        for (expression, from, expected) in [
            ("* * * * *", "2026-11-21 10:13:00", &["2026-11-21 10:13:00", "2026-11-21 10:14:00"][..]),
            ("* * * * *", "2026-12-31 23:59:01", &["2027-01-01 00:00:00"]),
            ("*/15 9-17 * * MON-FRI", "2026-11-20 17:50:00", &["2026-11-23 09:00:00", "2026-11-23 09:15:00"]),
            ("5/20 0 * * *", "2026-11-21 00:26:00", &["2026-11-21 00:45:00", "2026-11-22 00:05:00"]),
            ("*/10 * * * * *", "2026-11-21 10:13:55", &["2026-11-21 10:14:00", "2026-11-21 10:14:10"]),
            ("30 59 23 31 12 *", "2026-01-01 00:00:00", &["2026-12-31 23:59:30", "2027-12-31 23:59:30"]),
            ("0 0 13 * 5", "2026-11-01 00:00:00", &["2026-11-06 00:00:00", "2026-11-13 00:00:00"]),
            ("0 0 */2 * 1", "2026-11-01 00:00:00", &["2026-11-09 00:00:00", "2026-11-23 00:00:00"]),
            ("0 0 29 2 *", "2026-01-01 00:00:00", &["2028-02-29 00:00:00", "2032-02-29 00:00:00"]),
            ("0 0 29 2 */7", "2026-01-01 00:00:00", &["2032-02-29 00:00:00"]),
            ("0 3 L * *", "2026-02-01 00:00:00", &["2026-02-28 03:00:00", "2026-03-31 03:00:00"]),
            ("0 3 15W * *", "2026-11-01 00:00:00", &["2026-11-16 03:00:00", "2026-12-15 03:00:00"]),
            ("0 3 1W * *", "2026-08-01 00:00:00", &["2026-08-03 03:00:00", "2026-09-01 03:00:00"]),
            ("0 3 31W 1,5 *", "2026-01-01 00:00:00", &["2026-01-30 03:00:00", "2026-05-29 03:00:00"]),
            ("0 3 * * 5L", "2026-11-01 00:00:00", &["2026-11-27 03:00:00", "2026-12-25 03:00:00"]),
            ("0 3 * * MON#2", "2026-11-01 00:00:00", &["2026-11-09 03:00:00", "2026-12-14 03:00:00"]),
            ("0 3 * * 7", "2026-11-21 00:00:00", &["2026-11-22 03:00:00"]),
            ("0 3 * * 5-7", "2026-11-21 04:00:00", &["2026-11-22 03:00:00", "2026-11-27 03:00:00"]),
            ("0 3 ? JAN,jul ?", "2026-11-21 00:00:00", &["2027-01-01 03:00:00", "2027-01-02 03:00:00"]),
            ("@hourly", "2026-11-21 10:00:01", &["2026-11-21 11:00:00"]),
            ("@weekly", "2026-11-21 10:00:00", &["2026-11-22 00:00:00"]),
            ("@monthly", "2026-11-21 10:00:00", &["2026-12-01 00:00:00"]),
            ("@yearly", "2026-11-21 10:00:00", &["2027-01-01 00:00:00"]),
        ] {
            let parsed: Expression = expression.parse().unwrap();
            let mut from = civil(from);
            for expected in expected {
                let found = parsed.first_from(from, None);
                assert_eq!(found, Some(civil(expected)), "{expression} from {from:?}");
                assert!(parsed.matches(civil(expected)), "{expression} at {expected}");
                from = Civil { second: found.unwrap().second + 1, ..found.unwrap() };
            }
        }
    }

    /// Against a look at every second, every minute and every day.
    #[test]
    fn the_first_is_the_first() {
        for expression in ["7 */3 * * *", "*/25 8,20 1-3 * *", "20,40 5-6 3 * * *", "59 59 23 * * *"] {
            let parsed: Expression = expression.parse().unwrap();
            let mut at = civil("2026-02-28 20:00:00");
            let mut expected = parsed.first_from(at, None);
            while at < civil("2026-03-02 00:00:00") {
                assert_eq!(parsed.matches(at), expected == Some(at), "{expression} at {at:?}");
                let next = following(at);
                if expected == Some(at) {
                    expected = parsed.first_from(next, None);
                }
                at = next;
            }
        }
    }

    fn following(at: Civil) -> Civil {
        match (at.second, at.minute, at.hour) {
            (59, 59, 23) => at.next_day(),
            (59, 59, hour) => Civil { hour: hour + 1, minute: 0, second: 0, ..at },
            (59, minute, _) => Civil { minute: minute + 1, second: 0, ..at },
            (second, ..) => Civil { second: second + 1, ..at },
        }
    }

    #[test]
    fn a_limit_is_kept() {
        let parsed: Expression = "0 3 * * *".parse().unwrap();
        let (from, until) = (civil("2026-11-21 10:00:00"), civil("2026-11-22 03:00:00"));
        assert_eq!(parsed.first_from(from, Some(until)), None);
        let later = Civil { second: 1, ..until };
        assert_eq!(parsed.first_from(from, Some(later)), Some(until));
    }

    #[test]
    fn hours_that_are_named_are_told_from_every_hour() {
        for (expression, expected) in [("0 * * * *", false), ("*/5 0-23 * * *", false), ("0 */2 * * *", true)]
        {
            assert_eq!(expression.parse::<Expression>().unwrap().is_at_hours(), expected, "{expression}");
        }
    }

    #[test]
    fn days_of_the_week() {
        for (date, expected) in [("2026-11-21", 6), ("2000-02-29", 2), ("1999-12-31", 5), ("2100-03-01", 1)] {
            let day = civil(date);
            assert_eq!(weekday(day.year, day.month, day.day), expected, "{date}");
        }
    }
}
