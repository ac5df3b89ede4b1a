//! Medians and ratios.
//!
//! A machine has neighbours and moods, so no number stands alone: both sides are measured in turn, each pair of runs
//! gives one ratio, and what counts is the median of the ratios with the smallest and the largest beside it.

use serde::Serialize;

/// Values of the same thing, from run to run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Sample {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) values: Vec<f64>,
}

impl Sample {
    /// `None` of no values.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (first, last) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, min: *first, max: *last, values: values.to_vec() })
    }
}

/// `ours / theirs` of each pair of runs.
pub(crate) fn ratios(theirs: &[f64], ours: &[f64]) -> Option<Sample> {
    let each: Vec<f64> = theirs
        .iter()
        .zip(ours)
        .filter(|(theirs, _)| **theirs > 0.0)
        .map(|(theirs, ours)| ours / theirs)
        .collect();
    Sample::of(&each)
}

/// What a scenario promises of one of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "value")]
pub(crate) enum Goal {
    /// The median ratio is at least this.
    RatioAtLeast(f64),
    /// The median ratio is at most this.
    RatioAtMost(f64),
    /// Our median is at most this.
    OursAtMost(f64),
}

impl Goal {
    pub(crate) fn met(self, ours: &Sample, ratio: Option<&Sample>) -> bool {
        match self {
            Self::RatioAtLeast(limit) => ratio.is_some_and(|ratio| ratio.median >= limit),
            Self::RatioAtMost(limit) => ratio.is_some_and(|ratio| ratio.median <= limit),
            Self::OursAtMost(limit) => ours.median <= limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        for (values, median) in [
            (vec![3.0], 3.0),
            (vec![9.0, 1.0, 2.0], 2.0),
            (vec![4.0, 1.0], 2.5),
            (vec![1.0, 2.0, 3.0, 40.0], 2.5),
        ] {
            let sample = Sample::of(&values).unwrap();
            assert_eq!(sample.median, median, "{values:?}");
            assert_eq!(sample.values, values);
        }
        assert_eq!(Sample::of(&[]), None);
    }

    #[test]
    fn each_pair_gives_a_ratio() {
        let ratio = ratios(&[10.0, 20.0, 0.0, 10.0], &[20.0, 30.0, 5.0, 25.0]).unwrap();
        assert_eq!(ratio.values, [2.0, 1.5, 2.5]);
        assert_eq!((ratio.min, ratio.median, ratio.max), (1.5, 2.0, 2.5));
    }

    #[test]
    fn goals() {
        let ours = Sample::of(&[5.0]).unwrap();
        let ratio = Sample::of(&[2.0]).unwrap();
        for (goal, met) in [
            (Goal::RatioAtLeast(2.0), true),
            (Goal::RatioAtLeast(2.1), false),
            (Goal::RatioAtMost(2.0), true),
            (Goal::RatioAtMost(1.9), false),
            (Goal::OursAtMost(5.0), true),
            (Goal::OursAtMost(4.9), false),
        ] {
            assert_eq!(goal.met(&ours, Some(&ratio)), met, "{goal:?}");
        }
        assert!(!Goal::RatioAtLeast(1.0).met(&ours, None));
    }
}
