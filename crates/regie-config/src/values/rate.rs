//! How many of something in a span of time: `100/1m`, `5/s`.

use std::fmt;
use std::str::FromStr;

use regie_core::Span;

use crate::document::Node;
use crate::schema::{Reader, Setting};

/// The most that can be counted in one span.
const COUNT_MAX: u32 = 100_000;

/// So many in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many, at least 1.
    pub count: u32,
    /// In how long.
    pub span: Span,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (count, span) = text.split_once('/').ok_or("there is no \"/\"")?;
        let count = count.trim().parse().ok().filter(|count| (1..=COUNT_MAX).contains(count));
        let count = count.ok_or_else(|| format!("the number before \"/\" must be from 1 to {COUNT_MAX}"))?;
        let span = span.trim();
        let one = format!("1{span}");
        let span: Span = if span.starts_with(|c: char| c.is_ascii_digit()) { span } else { &one }
            .parse()
            .map_err(|fault: regie_core::units::UnitError| fault.to_string())?;
        if span.0.is_zero() {
            return Err("the time behind \"/\" is nothing".to_owned());
        }
        Ok(Self { count, span })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.span)
    }
}

impl Setting for Rate {
    fn kind() -> String {
        "a number in a time such as \"100/1m\"".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(node, "a number in a time such as \"100/1m\"", str::parse)
    }

    fn show(&self) -> String {
        format!("\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_time() {
        for (text, expected) in [
            ("100/1m", Ok("100/1m")),
            ("5/s", Ok("5/1s")),
            (" 3 / 250ms", Ok("3/250ms")),
            ("1/1h 30m", Ok("1/1h 30m")),
            ("100", Err("there is no \"/\"")),
            ("0/1m", Err("the number before \"/\" must be from 1 to 100000")),
            ("many/1m", Err("the number before \"/\" must be from 1 to 100000")),
            ("5/0s", Err("the time behind \"/\" is nothing")),
        ] {
            let read: Result<Rate, String> = text.parse();
            assert_eq!(read.map(|rate| rate.to_string()), expected.map(str::to_owned).map_err(str::to_owned));
        }
        assert!("5/1y".parse::<Rate>().unwrap_err().contains("unknown unit"));
    }
}
