//! What a worker is told, and what it answers.
//!
//! A message is one line of JSON, a line feed, and the payload as it lies in the queue. The answer is one JSON object:
//! what is to be done with the job, and what there is to tell about it.
//!
//! ```text
//! {"kind":"run","connection":"redis","queue":"default","id":"6f…","attempts":1}
//! {"uuid":"6f…","displayName":"App\\Jobs\\Mail",…}
//!
//! {"do":"ack","class":"App\\Jobs\\Mail"}
//! ```

use std::io::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a worker is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Run the job.
    Run,
    /// The worker that had it has died: let the framework decide whether it is tried again or has failed.
    Died(Reason),
    /// Somebody has stopped it: it has failed, as the framework has it.
    Cancelled,
}

/// Why a run ended without an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// It ran longer than it may.
    Timeout,
    /// Its worker went away: a fatal error, a crash, the out-of-memory killer.
    Killed,
}

#[derive(Serialize)]
struct Header<'a> {
    kind: &'static str,
    connection: &'a str,
    queue: &'a str,
    id: &'a str,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(flatten)]
    options: &'a Options,
}

/// What the group says for jobs that do not say it themselves, as `queue:work` has it in its options.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Options {
    /// How often a job is tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tries: Option<u32>,
    /// How long to wait before each further try, in seconds, joined by commas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<String>,
    /// How long it may take, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// How much memory PHP may have after a job before the worker begins anew, in MB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

/// Which job a message is about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The connection or transport, by the application's name for it.
    pub connection: &'a str,
    /// The queue on it.
    pub queue: &'a str,
    /// The job's id, or the stream entry's.
    pub id: &'a str,
    /// The attempts begun, this one included.
    pub attempts: u32,
}

/// The bytes of a message.
#[must_use]
pub fn encode(kind: Kind, about: About<'_>, options: &Options, payload: &[u8]) -> Vec<u8> {
    let (name, reason) = match kind {
        Kind::Run => ("run", None),
        Kind::Died(reason) => ("died", Some(reason)),
        Kind::Cancelled => ("fail", None),
    };
    let About { connection, queue, id, attempts } = about;
    let message = match reason {
        Some(Reason::Timeout) => Some("the job ran longer than it may"),
        Some(Reason::Killed) => Some("the worker that ran the job has died"),
        None => (kind == Kind::Cancelled).then_some("the job was cancelled (regie queue cancel)"),
    };
    let header = Header { kind: name, connection, queue, id, attempts, reason, message, options };
    let mut out = Vec::with_capacity(payload.len() + 128);
    serde_json::to_writer(&mut out, &header).expect("strings and numbers");
    out.push(b'\n');
    out.extend_from_slice(payload);
    out
}

/// The header of a queue's messages to run a job, of which all but the job's id and attempts is always the same.
///
/// Gives the bytes of [`encode`].
#[derive(Debug, Clone)]
pub struct Template {
    /// Up to the id.
    head: Vec<u8>,
    /// Behind the attempts, with the line's end.
    tail: Vec<u8>,
}

impl Template {
    /// For the jobs of one queue.
    #[must_use]
    pub fn new(connection: &str, queue: &str, options: &Options) -> Self {
        let about = About { connection, queue, id: "", attempts: 0 };
        let whole = encode(Kind::Run, about, options, b"");
        let middle = b"\"\",\"attempts\":0";
        let place =
            whole.windows(middle.len()).rposition(|part| part == middle).expect("it is in each header");
        Self { head: whole[..place].to_vec(), tail: whole[place + middle.len()..].to_vec() }
    }

    /// The message to run the job `id`.
    #[must_use]
    pub fn run(&self, id: &str, attempts: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.head.len() + id.len() + 32 + self.tail.len() + payload.len());
        out.extend_from_slice(&self.head);
        if id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            out.push(b'"');
            out.extend_from_slice(id.as_bytes());
            out.push(b'"');
        } else {
            serde_json::to_writer(&mut out, id).expect("a string");
        }
        out.extend_from_slice(b",\"attempts\":");
        // A Vec takes everything.
        let _ = write!(out, "{attempts}");
        out.extend_from_slice(&self.tail);
        out.extend_from_slice(payload);
        out
    }
}

/// What is to be done with the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Ack,
    /// It has failed for good, and the framework has recorded that.
    Failed,
    /// It comes back after this long.
    Release(Duration),
}

/// An exception that a job ended with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Exception {
    /// Its class.
    pub class: String,
    /// Its message.
    pub message: String,
    /// The file that threw it.
    pub file: String,
    /// The line in it.
    pub line: u64,
    /// Its trace.
    pub trace: String,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What is to be done.
    pub verdict: Verdict,
    /// What there is to tell.
    pub told: Told,
}

/// What a worker tells about a job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Told {
    /// The job's class.
    pub class: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// What it ended with.
    pub exception: Option<Exception>,
    /// What it printed.
    pub output: Option<String>,
    /// The worker's memory after it.
    pub memory: Option<u64>,
    /// Why the worker ends after it.
    pub stop: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "do")]
    verdict: String,
    #[serde(default)]
    delay: f64,
    #[serde(flatten)]
    told: Told,
}

/// Reads an answer. None when it is none.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Outcome> {
    // What nearly every job says, without the cost of reading JSON.
    if let Some(class) =
        bytes.strip_prefix(br#"{"do":"ack","class":""#).and_then(|rest| rest.strip_suffix(b"\"}"))
        && !class.contains(&b'"')
    {
        let class = std::str::from_utf8(class).ok()?;
        let told = Told { class: Some(class.replace("\\\\", "\\")), ..Told::default() };
        return Some(Outcome { verdict: Verdict::Ack, told });
    }
    let answer: Answer = serde_json::from_slice(bytes).ok()?;
    let verdict = match answer.verdict.as_str() {
        "ack" => Verdict::Ack,
        "failed" => Verdict::Failed,
        "release" => Verdict::Release(Duration::try_from_secs_f64(answer.delay.max(0.0)).ok()?),
        _ => return None,
    };
    Some(Outcome { verdict, told: answer.told })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_line_and_the_payload() {
        let about = About { connection: "redis", queue: "a\"b", id: "6f", attempts: 2 };
        let check = |kind, expected: &str| {
            assert_eq!(
                String::from_utf8(encode(kind, about, &Options::default(), b"{}\n")).unwrap(),
                expected
            );
        };
        check(
            Kind::Run,
            "{\"kind\":\"run\",\"connection\":\"redis\",\"queue\":\"a\\\"b\",\"id\":\"6f\",\"attempts\":2}\n{}\n",
        );
        check(
            Kind::Died(Reason::Timeout),
            "{\"kind\":\"died\",\"connection\":\"redis\",\"queue\":\"a\\\"b\",\"id\":\"6f\",\"attempts\":2,\
             \"reason\":\"timeout\",\"message\":\"the job ran longer than it may\"}\n{}\n",
        );
    }

    #[test]
    fn a_template_gives_the_same_bytes() {
        let some =
            Options { tries: Some(3), backoff: Some("1,2".into()), timeout: Some(60), memory: Some(128) };
        for options in [Options::default(), some] {
            for (connection, queue) in [("redis", "default"), ("a\"b", "\",\"attempts\":0")] {
                let template = Template::new(connection, queue, &options);
                for (id, attempts) in [("6f-1", 1), ("", 0), ("a\"b\\\n\u{e9}", u32::MAX)] {
                    let about = About { connection, queue, id, attempts };
                    let expected = encode(Kind::Run, about, &options, b"{}");
                    assert_eq!(template.run(id, attempts, b"{}"), expected, "{about:?}");
                }
            }
        }
    }

    #[test]
    fn answers_are_read_strictly_in_what_matters() {
        let check = |text: &str, expected: Option<Verdict>| {
            assert_eq!(decode(text.as_bytes()).map(|outcome| outcome.verdict), expected, "{text}");
        };
        check(r#"{"do":"ack","class":"App\\A"}"#, Some(Verdict::Ack));
        check(r#"{"do":"ack","class":"App\\A","memory":3}"#, Some(Verdict::Ack));
        check(r#"{"do":"release","delay":10}"#, Some(Verdict::Release(Duration::from_secs(10))));
        check(r#"{"do":"release","delay":0.25}"#, Some(Verdict::Release(Duration::from_millis(250))));
        check(r#"{"do":"release","delay":-1}"#, Some(Verdict::Release(Duration::ZERO)));
        check(r#"{"do":"release","delay":1e300}"#, None);
        check(r#"{"do":"failed","exception":{"class":"E","message":"m"}}"#, Some(Verdict::Failed));
        check(r#"{"do":"dance"}"#, None);
        check("", None);
        check("Warning: x", None);
        let told = decode(br#"{"do":"ack","class":"App\\A"}"#).unwrap().told;
        assert_eq!(told.class.as_deref(), Some(r"App\A"));
        assert_eq!(told, decode(br#"{"do":"ack", "class":"App\\A"}"#).unwrap().told);
    }
}
