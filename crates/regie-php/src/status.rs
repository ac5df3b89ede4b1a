//! The pool's state for people and exporters, with php-fpm's names in php-fpm's forms: text, `?json`, `?openmetrics`,
//! `?html`, `?xml`, each with `full` for a part per process. Pure: a snapshot goes in, text comes out.

use std::fmt::Write as _;

/// A form of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
    OpenMetrics,
    Html,
    Xml,
}

impl Form {
    /// As the query string asks: the form, and whether each process is shown.
    pub(crate) fn from_query(query: &str) -> (Self, bool) {
        let asked = |name: &str| query.split('&').any(|part| part == name);
        let form = if asked("json") {
            Self::Json
        } else if asked("openmetrics") {
            Self::OpenMetrics
        } else if asked("html") {
            Self::Html
        } else if asked("xml") {
            Self::Xml
        } else {
            Self::Text
        };
        (form, asked("full"))
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Json => "application/json",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
            Self::Xml => "text/xml",
        }
    }
}

/// The pool at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) pool: String,
    pub(crate) start_time: u64,
    pub(crate) start_since: u64,
    pub(crate) accepted: u64,
    /// The number of workers follows the load.
    pub(crate) is_dynamic: bool,
    pub(crate) listen_queue: u64,
    pub(crate) max_listen_queue: u64,
    pub(crate) listen_queue_len: u64,
    pub(crate) max_active: u64,
    pub(crate) max_children_reached: u64,
    pub(crate) slow_requests: u64,
    pub(crate) memory_peak: u64,
    pub(crate) mode: &'static str,
    /// Why it is in classic mode, where rewind mode was wanted.
    pub(crate) classic_because: Option<String>,
    /// Of a pool in rewind mode.
    pub(crate) rewind: Option<Rewind>,
    pub(crate) processes: Vec<Process>,
}

/// What rewinding has cost a pool since its start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rewind {
    pub(crate) requests: u64,
    pub(crate) pages: u64,
    pub(crate) micros: u64,
    /// From the fork of the youngest worker until it took requests.
    pub(crate) ready_micros: u64,
    pub(crate) replaced: u64,
    pub(crate) replaced_why: String,
}

impl Rewind {
    fn rows(&self) -> Vec<Row> {
        let row = |name, metric, value| Row { name, metric, is_counter: true, value };
        let ready = self.ready_micros;
        vec![
            row("rewound requests", "rewound_requests", self.requests),
            row("pages put back", "rewind_pages", self.pages),
            row("put back us", "rewind_microseconds", self.micros),
            row("replaced workers", "rewind_replaced_workers", self.replaced),
            Row {
                name: "ready after us",
                metric: "rewind_ready_microseconds",
                is_counter: false,
                value: ready,
            },
        ]
    }
}

/// A worker at that moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Process {
    /// The seat that it has in the pool, by which it is named.
    pub(crate) seat: usize,
    pub(crate) pid: i32,
    pub(crate) state: &'static str,
    pub(crate) busy: bool,
    pub(crate) start_time: u64,
    pub(crate) start_since: u64,
    pub(crate) requests: u64,
    pub(crate) request_us: u64,
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) content_length: i64,
    pub(crate) user: String,
    pub(crate) script: String,
    pub(crate) cpu_percent: f64,
    pub(crate) memory: u64,
}

/// A row of the page: php-fpm's name of it, the metric's name, whether it only grows, and the value.
struct Row {
    name: &'static str,
    metric: &'static str,
    is_counter: bool,
    value: u64,
}

impl Snapshot {
    fn manager(&self) -> &'static str {
        if self.is_dynamic { "dynamic" } else { "static" }
    }

    fn active(&self) -> u64 {
        self.processes.iter().filter(|process| process.busy).count() as u64
    }

    fn rows(&self) -> Vec<Row> {
        let total = self.processes.len() as u64;
        let row = |name, metric, is_counter, value| Row { name, metric, is_counter, value };
        let mut rows = vec![
            row("start since", "start_since", true, self.start_since),
            row("accepted conn", "accepted_connections", true, self.accepted),
            row("listen queue", "listen_queue", false, self.listen_queue),
            row("max listen queue", "max_listen_queue", true, self.max_listen_queue),
            row("listen queue len", "listen_queue_length", false, self.listen_queue_len),
            row("idle processes", "idle_processes", false, total - self.active()),
            row("active processes", "active_processes", false, self.active()),
            row("total processes", "total_processes", false, total),
            row("max active processes", "max_active_processes", true, self.max_active.max(self.active())),
            row("max children reached", "max_children_reached", true, self.max_children_reached),
            row("slow requests", "slow_requests", true, self.slow_requests),
            row("memory peak", "memory_peak", true, self.memory_peak),
        ];
        rows.extend(self.rewind.iter().flat_map(Rewind::rows));
        rows
    }

    /// What is said in words.
    fn words(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let why = self.classic_because.as_deref().map(|why| ("not rewound because", why));
        let replaced = self.replaced_why().map(|why| ("last replaced for", why));
        [("mode", self.mode)].into_iter().chain(why).chain(replaced)
    }

    /// Why the last worker was replaced that could not be put back.
    fn replaced_why(&self) -> Option<&str> {
        self.rewind.as_ref().map(|rewind| rewind.replaced_why.as_str()).filter(|why| !why.is_empty())
    }

    /// The page.
    pub(crate) fn render(&self, form: Form, full: bool) -> String {
        match form {
            Form::Text => self.text(full),
            Form::Json => self.json(full),
            Form::OpenMetrics => self.open_metrics(full),
            Form::Html => self.html(full),
            Form::Xml => self.xml(full),
        }
    }

    fn text(&self, full: bool) -> String {
        let mut out = String::with_capacity(1024);
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(out, "{:<22}{value}", format!("{name}:"));
        };
        line("pool", &self.pool);
        line("process manager", &self.manager());
        line("start time", &Stamp(self.start_time));
        for row in self.rows() {
            line(row.name, &row.value);
        }
        for (name, value) in self.words() {
            line(name, &value);
        }
        if full {
            for process in &self.processes {
                out.push_str("\n************************\n");
                for (name, value) in process.fields() {
                    let _ = writeln!(out, "{:<22}{}", format!("{name}:"), value.plain());
                }
            }
        }
        out
    }

    fn json(&self, full: bool) -> String {
        let mut out = String::with_capacity(1024);
        let _ = write!(
            out,
            "{{\"pool\":{},\"process manager\":\"{}\",\"start time\":{}",
            quoted(&self.pool),
            self.manager(),
            self.start_time
        );
        for row in self.rows() {
            let _ = write!(out, ",\"{}\":{}", row.name, row.value);
        }
        for (name, value) in self.words() {
            let _ = write!(out, ",\"{name}\":{}", quoted(value));
        }
        if full {
            let processes: Vec<String> = self.processes.iter().map(Process::json).collect();
            let _ = write!(out, ",\"processes\":[{}]", processes.join(","));
        }
        out.push('}');
        out
    }

    /// What `fpm_get_status()` returns, as JSON: names with dashes, and the processes under `procs`.
    pub(crate) fn for_scripts(&self) -> String {
        let mut out = String::with_capacity(1024);
        let _ = write!(
            out,
            "{{\"pool\":{},\"process-manager\":\"{}\",\"start-time\":{}",
            quoted(&self.pool),
            self.manager(),
            self.start_time
        );
        for row in self.rows() {
            let _ = write!(out, ",\"{}\":{}", row.name.replace(' ', "-"), row.value);
        }
        let processes: Vec<String> = self.processes.iter().map(Process::for_scripts).collect();
        let _ = write!(out, ",\"procs\":[{}]}}", processes.join(","));
        out
    }

    fn open_metrics(&self, full: bool) -> String {
        let mut out = String::with_capacity(2048);
        let pool = quoted(&self.pool);
        let _ = writeln!(
            out,
            "# TYPE phpfpm_up gauge\n# HELP phpfpm_up Could the pool be asked.\nphpfpm_up{{pool={pool}}} 1"
        );
        for row in self.rows() {
            let kind = if row.is_counter { "counter" } else { "gauge" };
            let _ = writeln!(
                out,
                "# TYPE phpfpm_{} {kind}\n# HELP phpfpm_{0} php-fpm's \"{}\".",
                row.metric, row.name
            );
            let _ = writeln!(out, "phpfpm_{}{{pool={pool}}} {}", row.metric, row.value);
        }
        if let Some(why) = self.replaced_why() {
            let _ = writeln!(
                out,
                "# TYPE phpfpm_rewind_last_replaced info\n# HELP phpfpm_rewind_last_replaced Why a worker was.\n\
                 phpfpm_rewind_last_replaced_info{{pool={pool},reason={}}} 1",
                quoted(why)
            );
        }
        if full {
            for (name, of) in [
                ("process_requests", (|process| process.requests) as fn(&Process) -> u64),
                ("process_request_duration", |process| process.request_us),
                ("process_last_request_memory", |process| process.memory),
            ] {
                let _ = writeln!(out, "# TYPE phpfpm_{name} gauge\n# HELP phpfpm_{name} Of one worker.");
                for process in &self.processes {
                    let _ =
                        writeln!(out, "phpfpm_{name}{{pool={pool},pid=\"{}\"}} {}", process.pid, of(process));
                }
            }
        }
        out.push_str("# EOF\n");
        out
    }

    /// Names with dashes, times in seconds, as php-fpm writes it.
    fn xml(&self, full: bool) -> String {
        let mut out = "<?xml version=\"1.0\" ?>\n<status>\n".to_owned();
        xml_element(&mut out, "pool", &self.pool);
        xml_element(&mut out, "process manager", self.manager());
        xml_element(&mut out, "start time", &self.start_time.to_string());
        for row in self.rows() {
            xml_element(&mut out, row.name, &row.value.to_string());
        }
        if full {
            out.push_str("<processes>\n");
            for process in &self.processes {
                out.push_str("<process>\n");
                for (name, value) in process.fields() {
                    let text =
                        if let Value::Time(seconds) = value { seconds.to_string() } else { value.plain() };
                    xml_element(&mut out, name, &text);
                }
                out.push_str("</process>\n");
            }
            out.push_str("</processes>\n");
        }
        out.push_str("</status>");
        out
    }

    fn html(&self, full: bool) -> String {
        let mut out =
            format!("<!doctype html><title>{0}</title><h1>Pool {0}</h1><table>", escaped(&self.pool));
        for row in self.rows() {
            let _ = write!(out, "<tr><th align=left>{}<td align=right>{}", row.name, row.value);
        }
        out.push_str("</table>");
        if full && !self.processes.is_empty() {
            out.push_str("<table><tr>");
            for (name, _) in self.processes[0].fields() {
                let _ = write!(out, "<th>{name}");
            }
            for process in &self.processes {
                out.push_str("<tr>");
                for (_, value) in process.fields() {
                    let _ = write!(out, "<td>{}", escaped(&value.plain()));
                }
            }
            out.push_str("</table>");
        }
        out
    }
}

fn xml_element(out: &mut String, name: &str, value: &str) {
    let name = name.replace(' ', "-");
    let _ = writeln!(out, "<{name}>{}</{name}>", escaped(value));
}

enum Value {
    Number(u64),
    Signed(i64),
    Real(f64),
    Words(String),
    Time(u64),
}

impl Value {
    fn plain(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Signed(number) => number.to_string(),
            Self::Real(number) => format!("{number:.2}"),
            Self::Words(words) if words.is_empty() => "-".into(),
            Self::Words(words) => words.clone(),
            Self::Time(seconds) => Stamp(*seconds).to_string(),
        }
    }

    fn json(&self) -> String {
        match self {
            Self::Words(_) => quoted(&self.plain()),
            Self::Time(seconds) => seconds.to_string(),
            other => other.plain(),
        }
    }
}

impl Process {
    fn fields(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("pid", Value::Signed(self.pid.into())),
            ("state", Value::Words(self.state.into())),
            ("start time", Value::Time(self.start_time)),
            ("start since", Value::Number(self.start_since)),
            ("requests", Value::Number(self.requests)),
            ("request duration", Value::Number(self.request_us)),
            ("request method", Value::Words(self.method.clone())),
            ("request uri", Value::Words(self.uri.clone())),
            ("content length", Value::Signed(self.content_length)),
            ("user", Value::Words(self.user.clone())),
            ("script", Value::Words(self.script.clone())),
            ("last request cpu", Value::Real(self.cpu_percent)),
            ("last request memory", Value::Number(self.memory)),
        ]
    }

    /// An entry of `procs`. php-fpm's names differ here from those of its status page.
    fn for_scripts(&self) -> String {
        let (path, query) = self.uri.split_once('?').unwrap_or((&self.uri, ""));
        let (state, script) = (quoted(self.state), Value::Words(self.script.clone()).json());
        let (method, user) =
            (Value::Words(self.method.clone()).json(), Value::Words(self.user.clone()).json());
        format!(
            "{{\"pid\":{},\"state\":{state},\"start-time\":{},\"start-since\":{},\"requests\":{},\
             \"request-duration\":{},\"request-method\":{method},\"request-uri\":{},\"query-string\":{},\
             \"request-length\":{},\"user\":{user},\"script\":{script},\"last-request-cpu\":{:.2},\
             \"last-request-memory\":{}}}",
            self.pid,
            self.start_time,
            self.start_since,
            self.requests,
            self.request_us,
            quoted(path),
            quoted(query),
            self.content_length,
            if self.busy { 0.0 } else { self.cpu_percent },
            self.memory,
        )
    }

    fn json(&self) -> String {
        let fields: Vec<String> =
            self.fields().iter().map(|(name, value)| format!("\"{name}\":{}", value.json())).collect();
        format!("{{{},\"seat\":{}}}", fields.join(","), self.seat)
    }
}

/// A JSON string, which is also a label's value in OpenMetrics.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", control as u32);
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// `21/Nov/2026:07:26:11 +0000`, as php-fpm writes it.
struct Stamp(u64);

impl std::fmt::Display for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stamp = crate::shell::log::Stamp(self.0).to_string();
        write!(f, "{} +0000", stamp.replace('-', "/").replacen(' ', ":", 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Snapshot {
        Snapshot {
            pool: "we\"b".into(),
            accepted: 7,
            processes: vec![
                Process { pid: 12, state: "Running", busy: true, uri: "/<a>".into(), ..Process::default() },
                Process { pid: 13, state: "Idle", ..Process::default() },
            ],
            ..Snapshot::default()
        }
    }

    #[test]
    fn the_query_chooses() {
        for (query, expected) in [
            ("", (Form::Text, false)),
            ("full", (Form::Text, true)),
            ("json&full", (Form::Json, true)),
            ("openmetrics", (Form::OpenMetrics, false)),
            ("html", (Form::Html, false)),
            ("xml&full", (Form::Xml, true)),
        ] {
            assert_eq!(Form::from_query(query), expected, "{query}");
        }
    }

    #[test]
    fn every_form_says_the_same() {
        let sample = sample();
        let text = sample.render(Form::Text, true);
        assert!(text.contains("pool:                 we\"b\n"), "{text}");
        assert!(
            text.contains("active processes:     1\n") && text.contains("idle processes:       1\n"),
            "{text}"
        );
        assert!(text.contains("start time:           01/Jan/1970:00:00:00 +0000\n"), "{text}");
        assert!(text.contains("request uri:          /<a>\n"), "{text}");
        let json = sample.render(Form::Json, true);
        assert!(json.starts_with("{\"pool\":\"we\\\"b\",\"process manager\":\"static\""), "{json}");
        assert!(
            json.contains("\"accepted conn\":7") && json.contains("\"processes\":[{\"pid\":12,"),
            "{json}"
        );
        let metrics = sample.render(Form::OpenMetrics, false);
        assert!(metrics.contains("phpfpm_accepted_connections{pool=\"we\\\"b\"} 7\n"), "{metrics}");
        assert!(metrics.ends_with("# EOF\n"));
        assert!(sample.render(Form::Html, true).contains("/&lt;a&gt;"));
        assert!(!json.contains("rewound"), "a pool that does not rewind says nothing of it");
        let xml = sample.render(Form::Xml, true);
        assert!(
            xml.contains("<accepted-conn>7</accepted-conn>")
                && xml.contains("<request-uri>/&lt;a&gt;</request-uri>"),
            "{xml}"
        );
        assert!(xml.ends_with("</process>\n</processes>\n</status>"), "{xml}");
    }

    #[test]
    fn rewinding_is_shown() {
        let rewind = Rewind {
            requests: 3,
            pages: 300,
            micros: 90,
            ready_micros: 4000,
            replaced: 1,
            replaced_why: "a thread".into(),
        };
        let sample = Snapshot { rewind: Some(rewind), ..sample() };
        let json = sample.render(Form::Json, false);
        assert!(json.contains("\"pages put back\":300,\"put back us\":90,\"replaced workers\":1"), "{json}");
        assert!(json.contains("\"last replaced for\":\"a thread\""), "{json}");
        let metrics = sample.render(Form::OpenMetrics, false);
        assert!(metrics.contains("phpfpm_rewind_pages{pool=\"we\\\"b\"} 300\n"), "{metrics}");
        assert!(metrics.contains(",reason=\"a thread\"} 1\n"), "{metrics}");
    }
}
