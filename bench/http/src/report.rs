//! What was measured, for a person and for a program.

use std::fmt::Write as _;

use serde::Serialize;

use crate::stats::{Goal, Sample, ratios};

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    PerSecond,
    Milliseconds,
    Microseconds,
    Megabytes,
    /// Of one processor.
    Percent,
}

/// One measured thing, on both sides where both have it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) theirs: Option<Sample>,
    pub(crate) ours: Sample,
    /// Ours to theirs, pair by pair.
    pub(crate) ratio: Option<Sample>,
    pub(crate) goal: Option<Goal>,
    pub(crate) met: Option<bool>,
}

impl Row {
    /// `None` when there is no value on our side.
    pub(crate) fn new(
        what: &str,
        unit: Unit,
        theirs: &[f64],
        ours: &[f64],
        goal: Option<Goal>,
    ) -> Option<Self> {
        let sample = Sample::of(ours)?;
        let ratio = ratios(theirs, ours);
        let met = goal.map(|goal| goal.met(&sample, ratio.as_ref()));
        Some(Self { what: what.to_owned(), unit, theirs: Sample::of(theirs), ours: sample, ratio, goal, met })
    }
}

/// A scenario's result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) about: String,
    /// Names of the columns, where they are not the report's.
    pub(crate) sides: Option<[String; 2]>,
    pub(crate) rows: Vec<Row>,
    /// Why there are no rows, when it failed.
    pub(crate) fault: Option<String>,
}

/// The machine, since a number without one says little.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpus: usize,
    pub(crate) cpu: String,
    pub(crate) kernel: String,
    pub(crate) php: String,
    pub(crate) nginx: String,
}

/// Everything, as it is written to the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    /// The version of this form.
    pub(crate) format: u32,
    pub(crate) machine: Machine,
    pub(crate) peer: String,
    pub(crate) pairs: u32,
    pub(crate) seconds: u32,
    pub(crate) scenarios: Vec<Outcome>,
}

/// A scenario as a small table.
pub(crate) fn table(outcome: &Outcome, peer: &str, ours: &str) -> String {
    let mut text = format!("{}: {}\n", outcome.name, outcome.about);
    let [peer, ours] =
        outcome.sides.as_ref().map_or([peer, ours], |[peer, ours]| [peer.as_str(), ours.as_str()]);
    if let Some(fault) = &outcome.fault {
        let _ = writeln!(text, "  failed: {fault}");
        return text;
    }
    let _ = writeln!(text, "  {:<34}{peer:>16}{ours:>16}   ratio (least to most)", "");
    for row in &outcome.rows {
        let theirs =
            row.theirs.as_ref().map_or_else(|| "-".to_owned(), |sample| number(sample.median, row.unit));
        let ours = number(row.ours.median, row.unit);
        let ratio = row.ratio.as_ref().map_or_else(String::new, |ratio| {
            format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.min, ratio.max)
        });
        let goal = match (row.goal, row.met) {
            (Some(goal), Some(met)) => {
                format!("   goal {}: {}", goal_text(goal, row.unit), if met { "met" } else { "missed" })
            }
            _ => String::new(),
        };
        let _ = writeln!(text, "  {:<34}{theirs:>16}{ours:>16}   {ratio}{goal}", row.what);
    }
    text
}

fn goal_text(goal: Goal, unit: Unit) -> String {
    match goal {
        Goal::RatioAtLeast(value) => format!("at least {value:.2}"),
        Goal::RatioAtMost(value) => format!("at most {value:.2}"),
        Goal::OursAtMost(value) => format!("at most {}", number(value, unit)),
    }
}

fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::PerSecond => format!("{}/s", thousands(value)),
        Unit::Milliseconds if value < 100.0 => format!("{value:.2} ms"),
        Unit::Milliseconds => format!("{value:.0} ms"),
        Unit::Microseconds => format!("{} µs", thousands(value)),
        Unit::Megabytes => format!("{value:.1} MB"),
        Unit::Percent => format!("{value:.1} %"),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_both_sides_and_the_goal() {
        let row = Row::new(
            "requests",
            Unit::PerSecond,
            &[10_000.0, 10_000.0, 10_000.0],
            &[21_000.0, 25_000.0, 22_000.0],
            Some(Goal::RatioAtLeast(2.0)),
        );
        let outcome = Outcome {
            name: "hello".into(),
            about: "hello world".into(),
            sides: None,
            rows: row.into_iter().collect(),
            fault: None,
        };
        let text = table(&outcome, "nginx + php-fpm", "Régie");
        assert!(text.contains("10,000/s"), "{text}");
        assert!(text.contains("22,000/s   2.20 (2.10 to 2.50)   goal at least 2.00: met"), "{text}");
    }

    #[test]
    fn numbers_fit_their_unit() {
        for (value, unit, text) in [
            (999.4, Unit::PerSecond, "999/s"),
            (1_234_567.0, Unit::PerSecond, "1,234,567/s"),
            (1.234, Unit::Milliseconds, "1.23 ms"),
            (512.3, Unit::Milliseconds, "512 ms"),
            (1234.4, Unit::Microseconds, "1,234 µs"),
            (12.34, Unit::Megabytes, "12.3 MB"),
        ] {
            assert_eq!(number(value, unit), text);
        }
    }
}
