//! From what the clock on the wall shows to instants.
//!
//! On two days of the year a zone's clocks are changed, and cron lines would run twice, or not at all. As in
//! Debian's cron(8):
//!
//! - A line that names its hours (`30 2 * * *`) runs once a day. When the clocks skip 02:30, it runs at the moment
//!   of the change; when they show it twice, it runs the first time.
//! - A line for every hour (`*/10 * * * *`) goes by the time that passes: nothing is made up for what was skipped,
//!   and what the clocks show twice is run twice, ten minutes after ten minutes.
//!
//! Laravel asks each minute whether what the clock shows matches, and nothing else: [`Reading::AsShown`].

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use regie_core::cron::{Civil, Expression};

/// What an expression means on the days when the clocks are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// As in cron(8): named hours are due once a day.
    Once,
    /// Whenever the clock shows it: never when it is skipped, twice when it comes twice.
    AsShown,
}

/// An expression and the zone whose clock it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    /// What was written.
    pub expression: Expression,
    /// Whose clock.
    pub zone: TimeZone,
    /// What it means when the clocks are changed.
    pub reading: Reading,
}

/// How many changes of the clocks are looked past: more than forty years have.
const CHANGES_MAX: usize = 128;

impl When {
    /// The first instant after `after`, on a whole second, at which it is due; none in the next decades otherwise.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = Timestamp::from_second(after.as_second().checked_add(1)?).ok()?;
        let mut changes = self.zone.following(after);
        let mut offset = self.zone.to_offset(after);
        // From one change of the clocks to the next, the zone is a fixed distance from UTC.
        for _ in 0..CHANGES_MAX {
            let change = changes.next();
            let shown = offset.to_datetime(from);
            let until = change.as_ref().map(|change| offset.to_datetime(change.timestamp()));
            let first = self.not_repeated(from, shown);
            if let Some(found) = self.expression.first_from(civil(first), until.map(civil)) {
                return offset.to_timestamp(date_time(found)).ok();
            }
            let change = change?;
            from = change.timestamp();
            // A time that the clocks skip is due when they do.
            let (old, new) = (offset.to_datetime(from), change.offset().to_datetime(from));
            if self.is_once() && self.expression.first_from(civil(old), Some(civil(new))).is_some() {
                return Some(from);
            }
            offset = change.offset();
        }
        None
    }

    /// Whether it is due once for each time that is written, whatever the clocks do.
    const fn is_once(&self) -> bool {
        matches!(self.reading, Reading::Once) && self.expression.is_at_hours()
    }

    /// Where to look from when the clock shows `shown` at `from`: past the times that it has shown before, unless
    /// they count twice.
    fn not_repeated(&self, from: Timestamp, shown: DateTime) -> DateTime {
        if !self.is_once() {
            return shown;
        }
        let Some(change) = self.zone.preceding(from.saturating_add(1.nanosecond()).unwrap_or(from)).next()
        else {
            return shown;
        };
        let before = change.timestamp().saturating_sub(1.nanosecond()).unwrap_or(Timestamp::MIN);
        let old = self.zone.to_offset(before).to_datetime(change.timestamp());
        shown.max(old)
    }
}

fn civil(at: DateTime) -> Civil {
    let small = |n: i8| u8::try_from(n).unwrap_or(0);
    Civil {
        year: at.year(),
        month: small(at.month()),
        day: small(at.day()),
        hour: small(at.hour()),
        minute: small(at.minute()),
        second: small(at.second()),
    }
}

fn date_time(at: Civil) -> DateTime {
    let small = u8::cast_signed;
    jiff::civil::date(at.year, small(at.month), small(at.day)).at(
        small(at.hour),
        small(at.minute),
        small(at.second),
        0,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is due after an instant, each as the zone's clock shows it with its distance from UTC.
    fn dues(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        read(Reading::Once, expression, zone, after, count)
    }

    fn read(reading: Reading, expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let (expression, zone) = (expression.parse().unwrap(), TimeZone::get(zone).unwrap());
        let when = When { expression, zone, reading };
        let mut at: Timestamp = after.parse().unwrap();
        let mut found = Vec::new();
        for _ in 0..count {
            at = when.next(at).unwrap();
            found.push(at.to_zoned(when.zone.clone()).strftime("%m-%d %H:%M:%S%:z").to_string());
        }
        found
    }

    #[test]
    fn plain_days() {
        let found = dues("0 3 * * *", "Europe/Paris", "2026-11-21T10:00:00Z", 2);
        assert_eq!(found, ["11-22 03:00:00+01:00", "11-23 03:00:00+01:00"]);
        let found = dues("*/30 * * * * *", "UTC", "2026-11-21T10:00:00Z", 2);
        assert_eq!(found, ["11-21 10:00:30+00:00", "11-21 10:01:00+00:00"]);
    }

    #[test]
    fn a_skipped_hour() {
        // In Paris, 2026-03-29 02:00 becomes 03:00, at 01:00 UTC.
        let eve = "2026-03-28T02:00:00Z";
        assert_eq!(
            dues("30 2 * * *", "Europe/Paris", eve, 2),
            ["03-29 03:00:00+02:00", "03-30 02:30:00+02:00"]
        );
        // Twice in the skipped hour is still once.
        assert_eq!(
            dues("0,30 2 * * *", "Europe/Paris", eve, 2),
            ["03-29 03:00:00+02:00", "03-30 02:00:00+02:00"]
        );
        // What is due at the end of the gap too is not run twice.
        assert_eq!(
            dues("0 2,3 * * *", "Europe/Paris", eve, 2),
            ["03-29 03:00:00+02:00", "03-30 02:00:00+02:00"]
        );
        assert_eq!(
            dues("*/30 * * * *", "Europe/Paris", "2026-03-29T00:29:59Z", 3),
            ["03-29 01:30:00+01:00", "03-29 03:00:00+02:00", "03-29 03:30:00+02:00"]
        );
        for just_before in ["2026-03-29T00:59:59Z", "2026-03-29T00:59:59.7Z"] {
            assert_eq!(dues("30 2 * * *", "Europe/Paris", just_before, 1), ["03-29 03:00:00+02:00"]);
        }
        assert_eq!(dues("30 2 * * *", "Europe/Paris", "2026-03-29T01:00:00Z", 1), ["03-30 02:30:00+02:00"]);
    }

    #[test]
    fn an_hour_that_comes_twice() {
        // In Paris, 2026-10-25 03:00 becomes 02:00, at 01:00 UTC.
        let eve = "2026-10-24T12:00:00Z";
        assert_eq!(
            dues("30 2 * * *", "Europe/Paris", eve, 2),
            ["10-25 02:30:00+02:00", "10-26 02:30:00+01:00"]
        );
        assert_eq!(
            dues("0 2,3 * * *", "Europe/Paris", eve, 3),
            ["10-25 02:00:00+02:00", "10-25 03:00:00+01:00", "10-26 02:00:00+01:00"]
        );
        assert_eq!(
            dues("*/30 * * * *", "Europe/Paris", "2026-10-25T00:00:00Z", 4),
            ["10-25 02:30:00+02:00", "10-25 02:00:00+01:00", "10-25 02:30:00+01:00", "10-25 03:00:00+01:00"]
        );
        // Started between the two, it does not run what was due before.
        assert_eq!(dues("30 2 * * *", "Europe/Paris", "2026-10-25T01:10:00Z", 1), ["10-26 02:30:00+01:00"]);
    }

    #[test]
    fn as_the_clock_shows_it() {
        let laravel = |after, count| read(Reading::AsShown, "30 2 * * *", "Europe/Paris", after, count);
        assert_eq!(laravel("2026-03-28T02:00:00Z", 1), ["03-30 02:30:00+02:00"]);
        assert_eq!(laravel("2026-10-24T12:00:00Z", 2), ["10-25 02:30:00+02:00", "10-25 02:30:00+01:00"]);
    }

    #[test]
    fn zones_that_change_by_half_an_hour_or_at_midnight() {
        // Lord Howe moves by 30 minutes: 2026-10-04 02:00 becomes 02:30.
        assert_eq!(
            dues("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", 2),
            ["10-04 02:30:00+11:00", "10-05 02:15:00+11:00"]
        );
        // In Cairo 2026-04-24 00:00 becomes 01:00.
        assert_eq!(
            dues("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", 2),
            ["04-24 01:00:00+03:00", "04-25 00:00:00+03:00"]
        );
    }

    #[test]
    fn what_never_comes_ends() {
        for zone in ["UTC", "Europe/Paris"] {
            // The first of a month is never a fifth Saturday, and February has no 31st.
            let expression = "0 0 */30 2 6#5".parse().unwrap();
            let when = When { expression, zone: TimeZone::get(zone).unwrap(), reading: Reading::Once };
            assert_eq!(when.next("2026-01-01T00:00:00Z".parse().unwrap()), None, "{zone}");
        }
    }
}
