//! The text of an `.htaccess` file: its lines and words, and the expressions that stand for patterns of files.

/// Lines with their numbers, joined where a backslash ends them, without comments.
pub(super) fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let (number, mut joined) = open.take().unwrap_or((index + 1, String::new()));
        if let Some(part) = line.strip_suffix('\\') {
            joined.push_str(part);
            open = Some((number, joined));
            continue;
        }
        joined.push_str(line);
        lines.push((number, joined));
    }
    lines.extend(open);
    lines.retain(|(_, line)| !line.trim_start().starts_with('#'));
    lines
}

/// The words of a line; quotes keep blanks together.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '"' | '\'' => {
                let end = rest[1..].find(first).map_or(rest.len(), |at| at + 1);
                let after = (end + 1).min(rest.len());
                (rest[1..end].to_owned(), &rest[after..])
            }
            _ => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        words.push(word);
        rest = after.trim_start();
    }
    words
}

/// The file patterns that a regular expression over names stands for, when it is one of the usual shapes:
/// `\.(sql|log)$`, `^\.`, `^(a|b)\.php$`, `~$`.
pub(super) fn name_patterns(expression: &str) -> Option<Vec<String>> {
    let text = expression.trim_start_matches("(?i)");
    let (anchored, text) = text.strip_prefix('^').map_or((false, text), |rest| (true, rest));
    let (ended, text) = text.strip_suffix('$').map_or((false, text), |rest| (true, rest));
    let expanded = alternatives(text)?;
    let pattern = |name: String| {
        let (front, back) = (if anchored { "" } else { "*" }, if ended { "" } else { "*" });
        format!("{front}{name}{back}").replace("**", "*")
    };
    Some(expanded.into_iter().map(pattern).collect())
}

/// The path patterns of a rewrite: `^(vendor|storage)/`, `^config\.php$`, `(^|/)\.`.
pub(super) fn path_patterns(expression: &str) -> Option<Vec<String>> {
    if matches!(expression, "^" | ".*" | "^.*$" | "^(.*)$" | "(.*)" | "") {
        return Some(vec!["**".to_owned()]);
    }
    if let Some(rest) = expression.strip_prefix("(^|/)") {
        return Some(
            name_patterns(&format!("^{rest}"))?.into_iter().map(|name| format!("**/{name}")).collect(),
        );
    }
    let text = expression.strip_prefix('^')?;
    let (ended, text) = text.strip_suffix('$').map_or((false, text), |rest| (true, rest));
    let text = text.trim_end_matches("(.*)").trim_end_matches(".*");
    let pattern = |path: String| match path.strip_suffix('/') {
        Some(folder) => format!("{folder}/**"),
        None if ended => path,
        None => format!("{path}*"),
    };
    Some(
        alternatives(text)?
            .into_iter()
            .flat_map(|path| match ended || path.ends_with('/') {
                true => vec![pattern(path)],
                // `^storage` denies the name, all that begin so, and all below them.
                false => vec![format!("{path}*"), format!("{path}*/**")],
            })
            .collect(),
    )
}

/// Expands one group of alternatives in otherwise literal text; `None` for any other expression.
fn alternatives(text: &str) -> Option<Vec<String>> {
    let Some(open) = text.find('(') else { return Some(vec![literal(text)?]) };
    let close = open + text[open..].find(')')?;
    let inner = text[open + 1..close].trim_start_matches("?:");
    let (before, after) = (literal(&text[..open])?, literal(&text[close + 1..])?);
    inner.split('|').map(|choice| Some(format!("{before}{}{after}", literal(choice)?))).collect()
}

/// The text that an expression without operators matches; `.*` and `.+` become `*`.
fn literal(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().filter(|next| !next.is_ascii_alphanumeric())?),
            '.' => match chars.next() {
                Some('*' | '+') => out.push('*'),
                _ => return None,
            },
            '*' | '+' | '?' | '[' | ']' | '{' | '}' | '(' | ')' | '|' | '^' | '$' => return None,
            c => out.push(c),
        }
    }
    Some(out)
}
