//! Lines of the access log.
//!
//! Queries may carry secrets (`?token=…`, Mercure's `?authorization=…`), and so may addresses in `Referer`: their
//! values are written as `***`. Whatever a client sends is escaped, so one request is always one line.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, Method, Version, header};
use regie_core::secret::is_secret_name;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Apache's combined format, with the request's id and its time in seconds at the end.
    Combined,
    /// One JSON object.
    Json,
}

/// What a line tells.
#[derive(Debug)]
pub struct Entry<'a> {
    /// When the request came, as seconds and milliseconds since 1970.
    pub at: Duration,
    /// Who asked.
    pub client: IpAddr,
    /// The method.
    pub method: &'a Method,
    /// The target as it came.
    pub target: &'a str,
    /// The version.
    pub version: Version,
    /// The host asked for.
    pub host: &'a str,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// What was answered; 499 = the client went away before.
    pub status: u16,
    /// Bytes of the body that were sent.
    pub bytes: u64,
    /// From the head of the request to the end of the response.
    pub took: Duration,
    /// How much of that it waited for a worker.
    pub queued: Duration,
    /// The id of the request.
    pub request_id: &'a str,
}

/// Appends a line, newline included.
pub fn put(out: &mut Vec<u8>, format: LogFormat, entry: &Entry<'_>) {
    match format {
        LogFormat::Combined => put_combined(out, entry),
        LogFormat::Json => put_json(out, entry),
    }
}

fn put_combined(out: &mut Vec<u8>, entry: &Entry<'_>) {
    let text = format!("{} - - [{}] \"{} ", entry.client, clf_time(entry.at), entry.method);
    out.extend_from_slice(text.as_bytes());
    put_escaped(out, &redact(entry.target));
    let text = format!(" {:?}\" {} {} \"", entry.version, entry.status, entry.bytes);
    out.extend_from_slice(text.as_bytes());
    put_escaped(out, &redact(&field(entry, &header::REFERER)));
    out.extend_from_slice(b"\" \"");
    put_escaped(out, &field(entry, &header::USER_AGENT));
    let text = format!("\" {} {:.6}\n", entry.request_id, entry.took.as_secs_f64());
    out.extend_from_slice(text.as_bytes());
}

fn put_json(out: &mut Vec<u8>, entry: &Entry<'_>) {
    let at = entry.at.as_secs_f64();
    out.extend_from_slice(format!("{{\"ts\":{at:.3}").as_bytes());
    let pairs = [
        ("id", entry.request_id),
        ("client", &entry.client.to_string()),
        ("host", entry.host),
        ("method", entry.method.as_str()),
        ("uri", &redact(entry.target)),
        ("proto", &format!("{:?}", entry.version)),
        ("referer", &redact(&field(entry, &header::REFERER))),
        ("agent", &field(entry, &header::USER_AGENT)),
    ];
    for (name, value) in pairs {
        out.extend_from_slice(format!(",\"{name}\":\"").as_bytes());
        put_json_text(out, value);
        out.push(b'"');
    }
    let (took, queued) = (entry.took.as_secs_f64(), entry.queued.as_secs_f64());
    let numbers = format!(
        ",\"status\":{},\"bytes\":{},\"took\":{took:.6},\"queued\":{queued:.6}}}\n",
        entry.status, entry.bytes
    );
    out.extend_from_slice(numbers.as_bytes());
}

fn field(entry: &Entry<'_>, name: &header::HeaderName) -> String {
    entry
        .headers
        .get(name)
        .map_or_else(|| "-".to_owned(), |v| String::from_utf8_lossy(v.as_bytes()).into_owned())
}

/// `address` with the values of secret query parameters replaced by `***`.
#[must_use]
pub fn redact(address: &str) -> String {
    let Some((path, query)) = address.split_once('?') else { return address.to_owned() };
    let parts: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_secret_name(name) || is_secret_query(name) => format!("{name}=***"),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{path}?{}", parts.join("&"))
}

/// Names that carry secrets in queries, beyond those that do everywhere. Escapes in a name hide nothing.
fn is_secret_query(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains('%')
        || matches!(name.as_str(), "signature" | "sig" | "code" | "key" | "jwt" | "auth" | "pwd" | "pass")
}

/// Control characters, quotes and backslashes as `\xHH`, as nginx writes them.
fn put_escaped(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | 0..=31 | 127 => out.extend_from_slice(format!("\\x{byte:02X}").as_bytes()),
            byte => out.push(byte),
        }
    }
}

fn put_json_text(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=31 | 127 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            byte => out.push(byte),
        }
    }
}

/// `10/Oct/2000:13:55:36 +0000`.
fn clf_time(at: Duration) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let secs = at.as_secs();
    let (year, month, day) = date_of(secs / 86_400);
    let (hour, minute, second) = (secs / 3_600 % 24, secs / 60 % 60, secs % 60);
    format!("{day:02}/{}/{year}:{hour:02}:{minute:02}:{second:02} +0000", MONTHS[month])
}

/// Year, month (from 0) and day of a day counted from 1970 (Howard Hinnant's `civil_from_days`).
fn date_of(days: u64) -> (u64, usize, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 2 } else { shifted_month - 10 };
    let year = year_of_era + era * 400 + u64::from(month < 2);
    (year, usize::try_from(month).unwrap_or(0), day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn line(format: LogFormat, target: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static("a \"b\" \\c"));
        headers.insert(header::REFERER, HeaderValue::from_static("http://x/?token=abc&y=1"));
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer topsecret"));
        let entry = Entry {
            at: Duration::from_millis(951_827_696_250),
            client: "192.0.2.1".parse().unwrap(),
            method: &Method::GET,
            target,
            version: Version::HTTP_11,
            host: "h",
            headers: &headers,
            status: 200,
            bytes: 12,
            took: Duration::from_micros(1_500),
            queued: Duration::from_micros(200),
            request_id: "r1",
        };
        let mut out = Vec::new();
        put(&mut out, format, &entry);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_look_as_expected() {
        assert_eq!(
            line(LogFormat::Combined, "/a?x=1"),
            "192.0.2.1 - - [29/Feb/2000:12:34:56 +0000] \"GET /a?x=1 HTTP/1.1\" 200 12 \
             \"http://x/?token=***&y=1\" \"a \\x22b\\x22 \\x5Cc\" r1 0.001500\n"
        );
        assert_eq!(
            line(LogFormat::Json, "/a\"\n"),
            "{\"ts\":951827696.250,\"id\":\"r1\",\"client\":\"192.0.2.1\",\"host\":\"h\",\"method\":\"GET\",\
             \"uri\":\"/a\\\"\\u000a\",\"proto\":\"HTTP/1.1\",\"referer\":\"http://x/?token=***&y=1\",\
             \"agent\":\"a \\\"b\\\" \\\\c\",\"status\":200,\"bytes\":12,\"took\":0.001500,\"queued\":0.000200}\n"
        );
    }

    #[test]
    fn secrets_in_queries_are_not_written() {
        for (address, expected) in [
            ("/hub?topic=a&authorization=eyJ", "/hub?topic=a&authorization=***"),
            ("/?password=x&y", "/?password=***&y"),
            ("/?%61uthorization=x", "/?%61uthorization=***"),
            ("/?api_key=1&signature=2&page=3", "/?api_key=***&signature=***&page=3"),
            ("/a=b", "/a=b"),
        ] {
            assert_eq!(redact(address), expected);
        }
        assert!(!line(LogFormat::Json, "/").contains("topsecret"));
    }

    #[test]
    fn days_are_dates() {
        for (days, date) in
            [(0, (1970, 0, 1)), (11_016, (2000, 1, 29)), (11_017, (2000, 2, 1)), (20_454, (2026, 0, 1))]
        {
            assert_eq!(date_of(days), date);
        }
    }
}
