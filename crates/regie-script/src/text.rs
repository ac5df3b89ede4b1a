//! Splitting a line into words as Redis does: quotes, escapes.

/// The words of `line`: parted by white space, `"..."` with `\n \r \t \b \a \xHH` and `\` before any other byte,
/// `'...'` with `\'`. `None` when quotes do not match or a closing one is followed by more.
pub(crate) fn split_arguments(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let start = rest.iter().position(|&byte| !is_space(byte)).unwrap_or(rest.len());
        rest = &rest[start..];
        if rest.is_empty() || rest[0] == 0 {
            return Some(words);
        }
        let (word, after) = split_word(rest)?;
        words.push(word);
        rest = after;
    }
}

/// As isspace(3) in the C locale.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn split_word(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    let mut quote = None;
    let mut at = 0;
    loop {
        let byte = line.get(at).copied().filter(|&byte| byte != 0);
        match (quote, byte) {
            (Some(_), None) => return None,
            (None, None) => return Some((word, &line[line.len()..])),
            (None, Some(space)) if is_space(space) => return Some((word, &line[at..])),
            (None, Some(mark @ (b'"' | b'\''))) => quote = Some(mark),
            (None, Some(byte)) => word.push(byte),
            (Some(b'"'), Some(b'\\')) => at += escape(&line[at + 1..], &mut word),
            (Some(b'\''), Some(b'\\')) if line.get(at + 1) == Some(&b'\'') => {
                word.push(b'\'');
                at += 1;
            }
            (Some(mark), Some(byte)) if mark == byte => {
                return match line.get(at + 1) {
                    Some(&after) if after != 0 && !is_space(after) => None,
                    _ => Some((word, &line[at + 1..])),
                };
            }
            (Some(_), Some(byte)) => word.push(byte),
        }
        at += 1;
    }
}

/// Reads what follows a backslash and says how many bytes it took.
fn escape(rest: &[u8], word: &mut Vec<u8>) -> usize {
    let hex = |at: usize| rest.get(at).and_then(|&byte| (byte as char).to_digit(16));
    if rest.first() == Some(&b'x')
        && let (Some(high), Some(low)) = (hex(1), hex(2))
    {
        word.push((high << 4 | low) as u8);
        return 3;
    }
    let Some(&byte) = rest.first() else {
        word.push(b'\\');
        return 0;
    };
    word.push(match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    });
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let table: [(&str, Option<&[&str]>); 8] = [
            ("", Some(&[])),
            ("  a  b ", Some(&["a", "b"])),
            (r#""a b" 'c d'"#, Some(&["a b", "c d"])),
            (r#""\x41\n\"" '\''"#, Some(&["A\n\"", "'"])),
            (r#""a"b"#, None),
            (r#""a"#, None),
            ("'a", None),
            (r#"a"b""#, Some(&["ab"])),
        ];
        for (line, expect) in table {
            let expect =
                expect.map(|words| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>());
            assert_eq!(split_arguments(line.as_bytes()), expect, "{line}");
        }
    }
}
