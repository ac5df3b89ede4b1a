//! Redis's glob patterns: `*`, `?`, `[a-z]`, `[^a]`, `\` escapes. Not a shell's: a class may be left open, and `\`
//! works inside one.

/// Whether `text` matches `pattern`.
pub(crate) fn matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    let mut skip = false;
    step(pattern, text, ignore_case, &mut skip, 0)
}

/// How deep stars may recurse: a longer pattern matches nothing rather than eat the stack.
const DEPTH: usize = 1000;

fn step(mut pattern: &[u8], mut text: &[u8], ignore_case: bool, skip: &mut bool, depth: usize) -> bool {
    if depth > DEPTH {
        return false;
    }
    let fold = |byte: u8| if ignore_case { byte.to_ascii_lowercase() } else { byte };
    while let [first, rest @ ..] = pattern {
        if text.is_empty() && *first != b'*' {
            break;
        }
        match first {
            b'*' => {
                let mut rest = rest;
                while let [b'*', tail @ ..] = rest {
                    rest = tail;
                }
                if rest.is_empty() {
                    return true;
                }
                while !text.is_empty() {
                    if step(rest, text, ignore_case, skip, depth + 1) {
                        return true;
                    }
                    // A later star has already failed on the rest: no earlier one can help.
                    if *skip {
                        return false;
                    }
                    text = &text[1..];
                }
                *skip = true;
                return false;
            }
            b'?' => {
                pattern = rest;
                text = &text[1..];
            }
            b'[' => {
                let (hit, rest) = class(rest, fold(text[0]), &fold);
                if !hit {
                    return false;
                }
                pattern = rest;
                text = &text[1..];
            }
            _ => {
                let (literal, rest) = match (first, rest) {
                    (b'\\', [escaped, tail @ ..]) => (*escaped, tail),
                    _ => (*first, rest),
                };
                if fold(literal) != fold(text[0]) {
                    return false;
                }
                pattern = rest;
                text = &text[1..];
            }
        }
        if text.is_empty() {
            while let [b'*', tail @ ..] = pattern {
                pattern = tail;
            }
            break;
        }
    }
    pattern.is_empty() && text.is_empty()
}

/// Whether `byte` is in the class that begins at `pattern` (behind its bracket), and what follows the class.
fn class<'a>(mut pattern: &'a [u8], byte: u8, fold: &impl Fn(u8) -> u8) -> (bool, &'a [u8]) {
    let negated = pattern.first() == Some(&b'^');
    if negated {
        pattern = &pattern[1..];
    }
    let mut hit = false;
    loop {
        match pattern {
            [] => break,
            [b'\\', escaped, tail @ ..] => {
                hit |= fold(*escaped) == byte;
                pattern = tail;
            }
            [b']', tail @ ..] => {
                pattern = tail;
                break;
            }
            [low, b'-', high, tail @ ..] => {
                let (low, high) = (fold(*low).min(fold(*high)), fold(*low).max(fold(*high)));
                hit |= (low..=high).contains(&byte);
                pattern = tail;
            }
            [one, tail @ ..] => {
                hit |= fold(*one) == byte;
                pattern = tail;
            }
        }
    }
    (hit != negated, pattern)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expect) in [
            ("*", "", true),
            ("*", "anything", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("[\\]]", "]", true),
            ("[abc", "c", true),
            ("user:*:cart", "user:1:cart", true),
            ("user:*:cart", "user:1:cart:2", false),
            ("", "", true),
            ("a*", "b", false),
            ("abc***", "abc", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes(), false), expect, "{pattern} {text}");
        }
        assert!(matches(b"HE*", b"hello", true));
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = b"a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b";
        assert!(!matches(pattern, &[b'a'; 300], false));
    }
}
