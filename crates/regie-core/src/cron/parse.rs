//! From text to an [`Expression`].

use std::str::FromStr;

use super::{Days, Expression, Weekdays, has};

/// Why an expression cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Neither five fields nor six.
    #[error(
        "{0} fields where minute, hour, day, month and day of the week are expected, or these after seconds"
    )]
    Fields(usize),
    /// An unknown word after `@`.
    #[error("\"{0}\" is none of @yearly, @monthly, @weekly, @daily, @hourly")]
    Word(String),
    /// A field holds something else than its numbers.
    #[error("\"{written}\" is no {field}: {expected}")]
    Value {
        /// Which field.
        field: &'static str,
        /// The part that was not understood.
        written: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// A day that no such month has.
    #[error("there is no such day: it would never be due")]
    Never,
}

/// What a field may hold.
struct Field {
    name: &'static str,
    min: u8,
    max: u8,
    names: &'static [&'static str],
    expected: &'static str,
}

const SECOND: Field =
    Field { name: "second", min: 0, max: 59, names: &[], expected: "0 to 59, *, 10-20, */5 or a list" };
const MINUTE: Field = Field { name: "minute", ..SECOND };
const HOUR: Field =
    Field { name: "hour", min: 0, max: 23, names: &[], expected: "0 to 23, *, 9-17, */2 or a list" };
const DAY: Field = Field {
    name: "day of the month",
    min: 1,
    max: 31,
    names: &[],
    expected: "1 to 31, *, 1-7, */2, L, 15W or a list",
};
const MONTH: Field = Field {
    name: "month",
    min: 1,
    max: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    expected: "1 to 12, JAN to DEC, *, 1-6, */3 or a list",
};
const WEEKDAY: Field = Field {
    name: "day of the week",
    min: 0,
    max: 7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    expected: "0 to 7, SUN to SAT, *, 1-5, 5L, 1#2 or a list",
};

impl FromStr for Expression {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let written = text.trim();
        let fields: Vec<&str> = match written.strip_prefix('@') {
            Some(word) => word_fields(word).ok_or_else(|| CronError::Word(written.to_owned()))?.to_vec(),
            None => written.split_ascii_whitespace().collect(),
        };
        let (seconds, rest) = match fields.len() {
            5 => (1, &fields[..]),
            6 => (numbers(&SECOND, fields[0])?, &fields[1..]),
            count => return Err(CronError::Fields(count)),
        };
        let parsed = Self {
            written: written.to_owned(),
            seconds,
            minutes: numbers(&MINUTE, rest[0])?,
            hours: numbers(&HOUR, rest[1])?,
            days: days(rest[2])?,
            months: numbers(&MONTH, rest[3])?,
            weekdays: weekdays(rest[4])?,
        };
        if parsed.is_possible() { Ok(parsed) } else { Err(CronError::Never) }
    }
}

fn word_fields(word: &str) -> Option<[&'static str; 5]> {
    Some(match word.to_ascii_lowercase().as_str() {
        "yearly" | "annually" => ["0", "0", "1", "1", "*"],
        "monthly" => ["0", "0", "1", "*", "*"],
        "weekly" => ["0", "0", "*", "*", "0"],
        "daily" | "midnight" => ["0", "0", "*", "*", "*"],
        "hourly" => ["0", "*", "*", "*", "*"],
        _ => return None,
    })
}

impl Expression {
    /// Whether any of its months has any of its days.
    fn is_possible(&self) -> bool {
        const LONGEST: [u8; 13] = [0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let by_weekday = !self.weekdays.any;
        let longest =
            (1..=12u8).filter(|&month| has(self.months, month)).map(|month| LONGEST[usize::from(month)]);
        let listed = self.days.listed.trailing_zeros();
        by_weekday
            || self.days.last
            || self.days.nearest != 0
            || longest.max().is_some_and(|longest| listed <= u32::from(longest))
    }
}

fn days(text: &str) -> Result<Days, CronError> {
    let mut days = Days { any: is_any(text), ..Days::default() };
    for part in text.split(',') {
        if part.eq_ignore_ascii_case("L") {
            days.last = true;
        } else if let Some(day) = part.strip_suffix(['W', 'w']) {
            days.nearest |= 1 << value(&DAY, day, part)?;
        } else {
            days.listed |= part_numbers(&DAY, part)?;
        }
    }
    Ok(days)
}

fn weekdays(text: &str) -> Result<Weekdays, CronError> {
    let mut weekdays = Weekdays { any: is_any(text), ..Weekdays::default() };
    for part in text.split(',') {
        if let Some((day, nth)) = part.split_once('#') {
            let nth = nth.parse().ok().filter(|nth| (1..=5).contains(nth));
            let nth: usize = nth.ok_or_else(|| WEEKDAY.refuse(part))?;
            weekdays.nth[nth] |= 1 << (value(&WEEKDAY, day, part)? % 7);
        } else if let Some(day) = part.strip_suffix(['L', 'l']).filter(|day| !day.is_empty()) {
            weekdays.last |= 1 << (value(&WEEKDAY, day, part)? % 7);
        } else {
            weekdays.listed |= part_numbers(&WEEKDAY, part)?;
        }
    }
    // Sunday has two numbers.
    weekdays.listed |= weekdays.listed >> 7 & 1;
    Ok(weekdays)
}

/// Whether the field restricts nothing.
fn is_any(text: &str) -> bool {
    text.starts_with(['*', '?'])
}

fn numbers(field: &Field, text: &str) -> Result<u64, CronError> {
    text.split(',').try_fold(0, |set, part| Ok(set | part_numbers(field, part)?))
}

/// `*`, `7`, `1-5`, and each with `/n`.
fn part_numbers(field: &Field, part: &str) -> Result<u64, CronError> {
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (part, None),
    };
    let (from, to) = if matches!(range, "*" | "?") {
        (field.min, if field.max == 7 { 6 } else { field.max })
    } else if let Some((from, to)) = range.split_once('-') {
        (value(field, from, part)?, value(field, to, part)?)
    } else {
        let from = value(field, range, part)?;
        (from, if step.is_some() { field.max } else { from })
    };
    let step = match step {
        None => 1,
        Some(step) => step.parse::<u8>().ok().filter(|step| *step > 0).ok_or_else(|| field.refuse(part))?,
    };
    if from > to {
        return Err(field.refuse(part));
    }
    Ok((from..=to).step_by(usize::from(step)).fold(0, |set, number| set | 1 << number))
}

/// One number or name; `part` is what a fault shows.
fn value(field: &Field, text: &str, part: &str) -> Result<u8, CronError> {
    let named = field.names.iter().position(|name| name.eq_ignore_ascii_case(text));
    if let Some(at) = named.and_then(|at| u8::try_from(at).ok()) {
        return Ok(at + field.min);
    }
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && (field.min..=field.max).contains(number));
    number.ok_or_else(|| field.refuse(part))
}

impl Field {
    fn refuse(&self, part: &str) -> CronError {
        CronError::Value { field: self.name, written: part.to_owned(), expected: self.expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, expected) in [
            ("", "0 fields where"),
            ("* * * *", "4 fields where"),
            ("* * * * * * *", "7 fields where"),
            ("@fortnightly", "\"@fortnightly\" is none of"),
            ("60 * * * *", "\"60\" is no minute: 0 to 59"),
            ("* 24 * * *", "\"24\" is no hour"),
            ("* * 0 * *", "\"0\" is no day of the month"),
            ("* * * 13 *", "\"13\" is no month"),
            ("* * * * 8", "\"8\" is no day of the week"),
            ("* * * * MONDAY", "\"MONDAY\" is no day of the week"),
            ("*/0 * * * *", "\"*/0\" is no minute"),
            ("*/ * * * *", "\"*/\" is no minute"),
            ("30-10 * * * *", "\"30-10\" is no minute"),
            ("1,,2 * * * *", "\"\" is no minute"),
            ("+5 * * * *", "\"+5\" is no minute"),
            ("* * * * 1#6", "\"1#6\" is no day of the week"),
            ("* * * * L", "\"L\" is no day of the week"),
            ("* * 99999999999W * *", "is no day of the month"),
            ("0 0 30 2 *", "never be due"),
            ("0 0 31 4,6,9,11 *", "never be due"),
        ] {
            let fault = text.parse::<Expression>().unwrap_err().to_string();
            assert!(fault.contains(expected), "{text:?} gave {fault:?}");
        }
    }

    #[test]
    fn what_was_written_is_shown() {
        assert_eq!(" 0  3 * * * ".parse::<Expression>().unwrap().to_string(), "0  3 * * *");
    }
}
