//! Sizes and times as people write them in configuration: `512mb`, `2 GiB`, `30s`, `1h 30m`, `250ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Why a size or a time cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Nothing was written.
    #[error("empty value")]
    Empty,
    /// There is no number where one must stand.
    #[error("\"{0}\" does not start with a number")]
    NoNumber(String),
    /// The unit is none that is known.
    #[error("unknown unit \"{unit}\", use one of {known}")]
    UnknownUnit {
        /// What was written.
        unit: String,
        /// What could be.
        known: &'static str,
    },
    /// The number is larger than what can be counted.
    #[error("\"{0}\" is too large")]
    TooLarge(String),
}

/// A number of bytes. `k`, `m`, `g` count in 1024 with or without `b` or `ib`, as php.ini and redis.conf do for `kb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

const SIZE_UNITS: &str = "b, kb, mb, gb";

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let text = text.trim();
        let (number, unit) = split_number(text)?;
        let factor: u64 = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" | "kib" => 1 << 10,
            "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            _ => return Err(UnitError::UnknownUnit { unit: unit.to_owned(), known: SIZE_UNITS }),
        };
        number.checked_mul(factor).map(Self).ok_or_else(|| UnitError::TooLarge(text.to_owned()))
    }
}

impl fmt::Display for ByteSize {
    /// The largest unit in which one decimal tells enough: `1.5 GB`, `200 MB`, `512 B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (divisor, unit) = match self.0 {
            n if n >= 1 << 30 => (1u64 << 30, "GB"),
            n if n >= 1 << 20 => (1 << 20, "MB"),
            n if n >= 1 << 10 => (1 << 10, "KB"),
            _ => (1, "B"),
        };
        if self.0.is_multiple_of(divisor) {
            write!(f, "{} {unit}", self.0 / divisor)
        } else {
            #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
            let value = self.0 as f64 / divisor as f64;
            write!(f, "{value:.1} {unit}")
        }
    }
}

/// A length of time. A bare number counts seconds, as in php-fpm's and Supervisor's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub Duration);

const SPAN_UNITS: &str = "ms, s, m, h, d";

impl Span {
    /// A span of whole seconds.
    #[must_use]
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// A span of whole milliseconds.
    #[must_use]
    pub const fn millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(UnitError::Empty);
        }
        let mut total_ms: u64 = 0;
        while !rest.is_empty() {
            let (number, after) = split_number(rest)?;
            let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, next) = after.split_at(unit_end);
            let factor: u64 = match unit.to_ascii_lowercase().as_str() {
                "ms" => 1,
                "" | "s" | "sec" => 1_000,
                "m" | "min" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(UnitError::UnknownUnit { unit: unit.to_owned(), known: SPAN_UNITS }),
            };
            total_ms = number
                .checked_mul(factor)
                .and_then(|ms| total_ms.checked_add(ms))
                .ok_or_else(|| UnitError::TooLarge(text.to_owned()))?;
            rest = next.trim_start();
        }
        Ok(Self(Duration::from_millis(total_ms)))
    }
}

impl fmt::Display for Span {
    /// As it would be written: `1h 30m`, `45s`, `250ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        let mut separator = "";
        for (factor, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")] {
            if rest >= factor {
                write!(f, "{separator}{}{unit}", rest / factor)?;
                rest %= factor;
                separator = " ";
            }
        }
        Ok(())
    }
}

/// The whole number at the start of `text`, and what follows it without the white space between.
fn split_number(text: &str) -> Result<(u64, &str), UnitError> {
    if text.is_empty() {
        return Err(UnitError::Empty);
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 {
        return Err(UnitError::NoNumber(text.to_owned()));
    }
    let number = text[..end].parse().map_err(|_| UnitError::TooLarge(text.to_owned()))?;
    Ok((number, text[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_print() {
        for (text, bytes, shown) in [
            ("0", 0, "0 B"),
            ("512", 512, "512 B"),
            ("512mb", 512 << 20, "512 MB"),
            ("2 GiB", 2 << 30, "2 GB"),
            ("128M", 128 << 20, "128 MB"),
            ("1536k", 1536 << 10, "1.5 MB"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, shown), "{text}");
        }
    }

    #[test]
    fn spans_read_and_print() {
        for (text, ms, shown) in [
            ("30", 30_000, "30s"),
            ("300s", 300_000, "5m"),
            ("250ms", 250, "250ms"),
            ("1h 30m", 5_400_000, "1h 30m"),
            ("1h30m", 5_400_000, "1h 30m"),
            ("0", 0, "0s"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.0.as_millis(), span.to_string().as_str()), (ms, shown), "{text}");
        }
    }

    #[test]
    fn faults_say_what_is_wrong() {
        for (text, message) in [
            ("", "empty value"),
            ("much", "\"much\" does not start with a number"),
            ("5 parsecs", "unknown unit \"parsecs\", use one of b, kb, mb, gb"),
            ("99999999999gb", "\"99999999999gb\" is too large"),
        ] {
            assert_eq!(text.parse::<ByteSize>().unwrap_err().to_string(), message);
        }
        assert_eq!(
            "3 fortnights".parse::<Span>().unwrap_err().to_string(),
            "unknown unit \"fortnights\", use one of ms, s, m, h, d"
        );
    }
}
