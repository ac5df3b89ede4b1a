//! The nearest valid name to one that was mistyped, for `unknown key "worker", did you mean "workers"?`.

/// The candidate that takes the fewest edits to reach from `typed`, when those are few enough to be a slip
/// (a third of the length, at least one).
#[must_use]
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (typed.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (edits(typed, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance with swapped neighbours counted once (optimal string alignment), ignoring ASCII case.
fn edits(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().map(|c| c.to_ascii_lowercase()).collect();
    let b: Vec<char> = b.chars().map(|c| c.to_ascii_lowercase()).collect();
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let substitute = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = substitute.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let keys = ["workers", "max_requests", "mode", "script"];
        for (typed, expected) in [
            ("worker", Some("workers")),
            ("wrokers", Some("workers")),
            ("Mode", Some("mode")),
            ("max_request", Some("max_requests")),
            ("listen", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, keys), expected, "{typed}");
        }
    }
}
