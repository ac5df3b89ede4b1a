//! How a lease says whose it is: in the fraction of its score.
//!
//! Laravel keeps leased jobs in a sorted set whose score is the unix second at which the lease ends. Whole seconds
//! leave the fraction free: a runner's mark, one of a million, is written there in the same step that takes the lease.
//! So after a kill its successor finds exactly the leases of the dead runner, with no second list that could disagree,
//! and every other worker reads the score as it always does. 31 bits of seconds and 20 of mark fit a double exactly.

use std::fmt;

/// How many marks there are. 0 stands for leases without one: those of the framework's own workers.
pub const MARKS: u32 = 1 << 20;

/// The mark of one runner: 1 to [`MARKS`] − 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark(u32);

impl Mark {
    /// The mark that `seed` leads to.
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        Self((seed % (MARKS as u64 - 1)) as u32 + 1)
    }

    /// The mark with this number, when it is one.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        if number == 0 || number >= MARKS { None } else { Some(Self(number)) }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The score of a lease that ends at `unix_s`.
    #[must_use]
    pub fn score(self, unix_s: u64) -> f64 {
        unix_s as f64 + f64::from(self.0) / f64::from(MARKS)
    }

    /// Whether a lease with this score is its own.
    #[must_use]
    pub fn owns(self, score: f64) -> bool {
        score.is_finite() && (score.fract() * f64::from(MARKS)) == f64::from(self.0)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:05x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_its_way_through_text() {
        for seed in 0..5_000_u64 {
            let mark = Mark::from_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            for unix_s in [1, 1_790_000_000, 4_000_000_000] {
                let score = mark.score(unix_s);
                assert_eq!(score as u64, unix_s);
                // What goes to the server, and what comes back from one that prints 17 digits.
                for text in [format!("{score}"), regie_resp::format_double(score)] {
                    assert!(mark.owns(text.parse().unwrap()), "{text}");
                }
                let other = Mark::from_seed(seed + 1_000_003);
                assert_eq!(other.owns(score), other == mark);
            }
        }
        assert!(!Mark::from_seed(1).owns(1_790_000_000.0), "the framework's own leases have none");
        assert!(!Mark::from_seed(1).owns(f64::INFINITY));
    }

    #[test]
    fn numbers_are_checked() {
        assert_eq!(Mark::from_number(0), None);
        assert_eq!(Mark::from_number(MARKS), None);
        assert_eq!(Mark::from_number(7).map(Mark::number), Some(7));
    }
}
