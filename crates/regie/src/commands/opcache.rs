//! `regie php opcache`: what the pools' opcache holds, asked of a process beside its workers; `reset` starts new generations of them.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use clap::Parser;
use regie_core::Exit;
use regie_core::units::ByteSize;
use regie_fastcgi::{BeginRequest, Framer, Kind, Role, Step, cgi, params, record};
use regie_supervisor::control::Request;
use serde_json::Value;

use crate::commands::control;
use crate::output::{self, Paint, Table, Tone};
use crate::programs;
use crate::site::{Place, Site};

/// The answer is made at once; this is for a machine that has no time.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is held of an answer at most.
const ANSWER_MAX: usize = 64 << 20;

#[derive(Debug, Parser)]
#[command(name = "regie php opcache", disable_version_flag = true, no_binary_name = true)]
struct Asked {
    /// status, or reset: a new generation of each pool, with an empty opcache, beside the old one
    #[arg(value_parser = ["status", "reset"], default_value = "status")]
    what: String,
    /// Only this pool
    #[arg(long, short = 'p', value_name = "POOL")]
    pool: Option<String>,
    /// Every cached script, those with most hits first
    #[arg(long)]
    scripts: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// `words` are those behind `opcache`.
pub(crate) fn opcache(place: &Place, words: &[String]) -> Exit {
    let asked = match Asked::try_parse_from(words) {
        Ok(asked) => asked,
        Err(fault) => {
            let _ = fault.print();
            return if fault.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    let site = match place.load(None) {
        Ok(site) => site,
        Err(exit) => return exit,
    };
    let pools = match pools(&site, asked.pool.as_deref()) {
        Ok(pools) => pools,
        Err(exit) => return exit,
    };
    if asked.what == "reset" {
        let names = pools.iter().map(|name| format!("php:{name}")).collect();
        return control::act(&site.run_dir(), &Request::Reload { names, wait: true });
    }
    status(&site, &pools, &asked)
}

/// The pools that are meant; only those of ours can be asked.
fn pools(site: &Site, wanted: Option<&str>) -> Result<Vec<String>, Exit> {
    let ours = site.loaded.config.pools.iter().filter(|(_, pool)| pool.url.is_none());
    let names: Vec<String> = ours.map(|(name, _)| name.clone()).collect();
    let Some(wanted) = wanted else { return Ok(names) };
    let wanted = wanted.strip_prefix("php:").unwrap_or(wanted);
    if names.iter().any(|name| name == wanted) {
        return Ok(vec![wanted.to_owned()]);
    }
    output::error(format_args!(
        "there is no pool \"{wanted}\" of Régie's own; there are: {}",
        names.join(", ")
    ));
    Err(Exit::Usage)
}

fn status(site: &Site, pools: &[String], asked: &Asked) -> Exit {
    let mut exit = Exit::Done;
    let mut all = serde_json::Map::new();
    for name in pools {
        let what = if asked.scripts { "scripts" } else { "opcache" };
        match inspect(&programs::status_path(site, name), what) {
            Ok(state) => drop(all.insert(name.clone(), state)),
            Err(fault) => {
                output::error(format_args!("php:{name} could not be asked: {}", explain(&fault)));
                exit = Exit::Unavailable;
            }
        }
    }
    if asked.json {
        output::line(Value::Object(all));
        return exit;
    }
    for (name, state) in &all {
        for line in describe(name, state, Paint::stdout()) {
            output::line(line);
        }
    }
    exit
}

fn explain(fault: &io::Error) -> String {
    match fault.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "it does not run; start it with: regie up".to_owned()
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("no answer within {} s; see: regie status", PATIENCE.as_secs())
        }
        _ => fault.to_string(),
    }
}

/// Asks the pool whose status socket this is.
pub(super) fn inspect(socket: &Path, what: &str) -> io::Result<Value> {
    inspect_with(socket, &[("REGIE_INSPECT", what)])
}

/// The same with more to say than what is asked.
pub(super) fn inspect_with(socket: &Path, asked: &[(&str, &str)]) -> io::Result<Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut pairs = Vec::new();
    for &(name, value) in [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "regie")].iter().chain(asked) {
        params::put_pair(&mut pairs, name.as_bytes(), value.as_bytes());
    }
    let mut out = BeginRequest { role: Role::Responder, keep_connection: false }.to_record(1).to_vec();
    record::put_stream(&mut out, Kind::Params, 1, &pairs);
    record::put_stream_end(&mut out, Kind::Params, 1);
    record::put_stream_end(&mut out, Kind::Stdin, 1);
    stream.write_all(&out)?;
    let answer = read_answer(&mut stream)?;
    let odd = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let end = cgi::find_end(&answer).map_err(|fault| odd(fault.to_string()))?;
    let end = end.ok_or_else(|| odd("its answer has no head".into()))?;
    let status = cgi::parse(&answer[..end]).map_err(|fault| odd(fault.to_string()))?.status;
    if status != 200 {
        return Err(odd(format!("it answers {status}: {}", String::from_utf8_lossy(&answer[end..]).trim())));
    }
    serde_json::from_slice(&answer[end..]).map_err(|fault| odd(fault.to_string()))
}

fn read_answer(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let (mut framer, mut input, mut answer) = (Framer::default(), Vec::new(), Vec::new());
    let odd = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    loop {
        let (taken, ended) = match framer.step(&input).map_err(|_| odd("its answer is no FastCGI"))? {
            (_, Step::NeedMore) => {
                let mut piece = [0; 16 * 1024];
                match stream.read(&mut piece)? {
                    0 => return Err(odd("it closed the connection")),
                    len => input.extend_from_slice(&piece[..len]),
                }
                continue;
            }
            (taken, Step::Piece { kind: Kind::Stdout, data, .. }) => {
                answer.extend_from_slice(data);
                (taken, answer.len() > ANSWER_MAX)
            }
            (taken, Step::Record { kind: Kind::EndRequest, .. }) => (taken, true),
            (taken, _) => (taken, false),
        };
        input.drain(..taken);
        if ended {
            return Ok(answer);
        }
    }
}

/// The lines of a pool.
fn describe(name: &str, state: &Value, paint: Paint) -> Vec<String> {
    let number = |path: &str| state.pointer(path).and_then(Value::as_f64).unwrap_or_default();
    let is = |path: &str| state.pointer(path).and_then(Value::as_bool).unwrap_or_default();
    let title = paint.text(Tone::Strong, format_args!("php:{name}"));
    if !is("/opcache_enabled") {
        let why = if state.is_object() { "off" } else { "not loaded" };
        return vec![format!("{title}  opcache is {}; see: regie check", paint.text(Tone::Bad, why))];
    }
    let full = is("/cache_full") || is("/restart_pending");
    let (tone, word) = if full {
        (Tone::Bad, "full: raise opcache.memory_consumption or opcache.max_accelerated_files")
    } else {
        (Tone::Good, "on")
    };
    let used = number("/memory_usage/used_memory");
    let all = used + number("/memory_usage/free_memory") + number("/memory_usage/wasted_memory");
    let statistics = |key: &str| number(&format!("/opcache_statistics/{key}"));
    let (used_strings, strings) =
        (number("/interned_strings_usage/used_memory"), number("/interned_strings_usage/buffer_size"));
    let jit = if is("/jit/on") { "on" } else { "off" };
    let mut lines = vec![
        format!("{title}  opcache {}", paint.text(tone, word)),
        format!(
            "  memory   {} of {} ({:.0} %), {:.1} % wasted",
            size(used),
            size(all),
            percent(used, all),
            number("/memory_usage/current_wasted_percentage")
        ),
        format!(
            "  scripts  {}, {} of {} keys; interned strings {} of {}; JIT {jit}",
            statistics("num_cached_scripts"),
            statistics("num_cached_keys"),
            statistics("max_cached_keys"),
            size(used_strings),
            size(strings),
        ),
        format!(
            "  hits     {:.2} % of {}; restarts: {} for memory, {} for keys, {} by hand",
            statistics("opcache_hit_rate"),
            statistics("hits") + statistics("misses"),
            statistics("oom_restarts"),
            statistics("hash_restarts"),
            statistics("manual_restarts"),
        ),
    ];
    lines.extend(scripts(state, paint));
    lines
}

fn scripts(state: &Value, paint: Paint) -> Vec<String> {
    let Some(scripts) = state.get("scripts").and_then(Value::as_object) else { return Vec::new() };
    let number = |script: &Value, key: &str| script.get(key).and_then(Value::as_u64).unwrap_or_default();
    let mut rows: Vec<(u64, u64, &String)> =
        scripts.iter().map(|(path, s)| (number(s, "hits"), number(s, "memory_consumption"), path)).collect();
    rows.sort_by(|a, b| b.0.cmp(&a.0).then(a.2.cmp(b.2)));
    let mut table = Table::new(&["HITS", "MEMORY", "SCRIPT"], &[0, 1]);
    for (hits, memory, path) in rows {
        table.row(vec![
            (Tone::Plain, hits.to_string()),
            (Tone::Plain, ByteSize(memory).to_string()),
            (Tone::Plain, path.clone()),
        ]);
    }
    table.render(paint)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes, as PHP counts them")]
fn size(bytes: f64) -> ByteSize {
    ByteSize(bytes.max(0.0) as u64)
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part * 100.0 / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain(state: &Value) -> String {
        // Not a terminal in tests, so nothing is coloured.
        describe("web", state, Paint::stdout()).join("\n")
    }

    #[test]
    fn the_state_is_told_in_a_few_lines() {
        let mut state = json!({
            "opcache_enabled": true, "cache_full": false, "restart_pending": false,
            "memory_usage": {"used_memory": 32 << 20, "free_memory": 96 << 20, "wasted_memory": 0, "current_wasted_percentage": 0.0},
            "interned_strings_usage": {"buffer_size": 8 << 20, "used_memory": 2 << 20},
            "opcache_statistics": {"num_cached_scripts": 12, "num_cached_keys": 20, "max_cached_keys": 16229, "hits": 990,
                "misses": 10, "opcache_hit_rate": 99.0, "oom_restarts": 0, "hash_restarts": 1, "manual_restarts": 0},
            "jit": {"on": false},
            "scripts": {"/b.php": {"hits": 2, "memory_consumption": 1024}, "/a.php": {"hits": 5, "memory_consumption": 2048}},
        });
        let text = plain(&state);
        for part in [
            "opcache on",
            "32 MB of 128 MB (25 %), 0.0 % wasted",
            "12, 20 of 16229 keys",
            "99.00 % of 1000; restarts: 0 for memory, 1 for keys",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(text.find("/a.php") < text.find("/b.php"), "{text}");
        state["cache_full"] = true.into();
        assert!(plain(&state).contains("opcache full: raise"), "{}", plain(&state));
        assert!(plain(&json!(false)).contains("opcache is not loaded"));
        assert!(plain(&json!({"opcache_enabled": false})).contains("opcache is off"));
    }
}
