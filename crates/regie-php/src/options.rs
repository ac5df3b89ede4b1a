//! The command line of `regie-php`. It is all the configuration there is: the program can stand alone where php-fpm
//! stood, and the supervisor starts it the same way.

use std::ffi::CStr;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use regie_core::units::{ByteSize, Span};

/// A pool of PHP workers, speaking FastCGI.
#[derive(Debug, Clone, Parser)]
#[command(name = "regie-php", version = regie_php_sys::VERSION, about, long_about = None)]
pub(crate) struct Options {
    /// Name of the pool, shown in logs, process titles and status.
    #[arg(long, default_value = "web")]
    pub(crate) pool: String,

    /// Where to listen: unix:/path/to.sock, 127.0.0.1:9000, or `[::1]:9000`.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_listen, required_unless_present = "listen_fd")]
    pub(crate) listen: Option<Listen>,

    /// Take the listening socket of this name from LISTEN_FDS instead.
    #[arg(long, value_name = "NAME", conflicts_with = "listen")]
    pub(crate) listen_fd: Option<String>,

    /// Take requests from the lane of this name as well: shared memory that a gateway of ours uses, out of LISTEN_FDS.
    #[arg(long, value_name = "NAME")]
    pub(crate) lane_fd: Option<String>,

    /// File mode of the Unix socket, in octal. Only the owner by default.
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = parse_mode)]
    pub(crate) listen_mode: u32,

    /// Owner of the Unix socket (default: --user).
    #[arg(long, value_name = "USER")]
    pub(crate) listen_owner: Option<String>,

    /// Group of the Unix socket (default: --group).
    #[arg(long, value_name = "GROUP")]
    pub(crate) listen_group: Option<String>,

    /// classic: a fresh PHP request each time, as php-fpm. worker: the script boots once and loops. rewind: the script boots
    /// once, and after each request the process's memory is put back to that moment.
    #[arg(long, value_enum, default_value_t = Mode::Classic)]
    pub(crate) mode: Mode,

    /// The script that boots the application and calls frankenphp_handle_request() (worker) or regie_checkpoint() (rewind).
    #[arg(long, value_name = "FILE", required_if_eq_any([("mode", "worker"), ("mode", "rewind")]))]
    pub(crate) script: Option<PathBuf>,

    /// Rewind mode: how written pages are found. auto: the first of them that works here. none: they are not, and each
    /// request boots the application.
    #[arg(long, value_enum, default_value_t = Tracker::Auto)]
    pub(crate) tracker: Tracker,

    /// Rewind mode: an application that cannot be parked at its checkpoint runs in classic mode, each request its own
    /// script, until the next start. Without this the pool answers 503 and tries again.
    #[arg(long)]
    pub(crate) or_classic: bool,

    /// Say which ways to find written pages work here, a line each, and end.
    #[arg(long, exclusive = true)]
    pub(crate) trackers: bool,

    /// Number of worker processes; auto is twice the number of CPUs, at least 4. MIN-MAX: more when requests wait, fewer
    /// when nobody needs them.
    #[arg(long, value_name = "N|MIN-MAX|auto", default_value = "auto", value_parser = parse_workers)]
    pub(crate) workers: Workers,

    /// With MIN-MAX: workers that nobody needed for so long leave.
    #[arg(long, value_name = "SPAN", default_value = "10s")]
    pub(crate) idle_timeout: Span,

    /// Replace a worker after this many requests, give or take a tenth. 0: never.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) max_requests: u64,

    /// Replace a worker whose resident memory is larger than this after a request. 0: never.
    #[arg(long, value_name = "SIZE", default_value = "0")]
    pub(crate) max_memory: ByteSize,

    /// Wall-clock limit of a request. 0: none.
    #[arg(long, value_name = "SPAN", default_value = "0")]
    pub(crate) request_timeout: Span,

    /// How long PHP may take to end by itself after the limit, before it is killed.
    #[arg(long, value_name = "SPAN", default_value = "2s")]
    pub(crate) request_grace: Span,

    /// Write to the log where PHP stands when a request has run for so long, and let it run on; php-fpm's
    /// request_slowlog_timeout. 0: never.
    #[arg(long, value_name = "SPAN", default_value = "0")]
    pub(crate) slow_request: Span,

    /// How long a worker script may take to reach its loop. 0: for ever.
    #[arg(long, value_name = "SPAN", default_value = "60s")]
    pub(crate) boot_timeout: Span,

    /// How long a peer may take to send the next piece of a request or to take the next piece of a response.
    #[arg(long, value_name = "SPAN", default_value = "60s")]
    pub(crate) io_timeout: Span,

    /// How long requests in hand may take when the pool is told to stop.
    #[arg(long, value_name = "SPAN", default_value = "30s")]
    pub(crate) stop_timeout: Span,

    /// PHP_SAPI: fpm-fcgi for the web, cli for jobs. Opcache works under these.
    #[arg(long, value_name = "NAME", default_value = "fpm-fcgi")]
    pub(crate) sapi_name: String,

    /// Folder with php.ini and conf.d (default: that of the version's fpm, or of its cli).
    #[arg(long, value_name = "DIR")]
    pub(crate) ini_dir: Option<PathBuf>,

    /// A php.ini setting that wins over the files. May be repeated.
    #[arg(long = "ini", value_name = "K=V", value_parser = parse_pair)]
    pub(crate) ini: Vec<(String, String)>,

    /// An environment entry for PHP. May be repeated.
    #[arg(long = "env", value_name = "K=V", value_parser = parse_pair)]
    pub(crate) env: Vec<(String, String)>,

    /// User that the workers run as (the master must be root).
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,

    /// Group that the workers run as (default: that of --user).
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,

    /// Path at which the pool's state is shown (?json, ?xml, ?openmetrics, ?html, &full), as php-fpm's pm.status_path.
    #[arg(long, value_name = "PATH")]
    pub(crate) status_path: Option<String>,

    /// Path that a worker answers with "pong", as php-fpm's ping.path.
    #[arg(long, value_name = "PATH")]
    pub(crate) ping_path: Option<String>,

    /// A second listener at which the master answers status and ping, also when all workers are busy.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_listen)]
    pub(crate) status_listen: Option<Listen>,

    /// The same on a socket of this name out of LISTEN_FDS; its process is there only while it is asked.
    #[arg(long, value_name = "NAME", conflicts_with = "status_listen")]
    pub(crate) status_fd: Option<String>,

    /// Endings of files that may be run, joined by commas. Empty: all.
    #[arg(long, value_name = "LIST", default_value = ".php,.phar", value_delimiter = ',')]
    pub(crate) limit_extensions: Vec<String>,

    /// What is put back between requests of a worker script: ini, cwd, umask, locale, timezone, handlers; all or none.
    #[arg(long, value_name = "LIST", default_value = "all", value_delimiter = ',')]
    pub(crate) reset: Vec<Reset>,

    /// Report in the log what each request of a worker script leaves behind in globals and statics. Slow.
    #[arg(long)]
    pub(crate) paranoid: bool,

    /// Write the log to this file, reopened on SIGUSR1 (default: standard error).
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,

    /// Size of PHP's stack in each worker.
    #[arg(long, value_name = "SIZE", default_value = "16mb")]
    pub(crate) stack: ByteSize,
}

/// How requests are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// A fresh PHP request each time.
    Classic,
    /// A script that boots once and loops.
    Worker,
    /// A script that boots once; each request begins where the boot ended.
    Rewind,
}

/// How written pages are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tracker {
    /// In the best way that works here.
    Auto,
    /// By userfaultfd's asynchronous write protection.
    Userfaultfd,
    /// By the pages that are not the snapshot's any more, listed by PAGEMAP_SCAN.
    Scan,
    /// By the same, read from /proc/self/pagemap.
    Pagemap,
    /// Not at all.
    None,
}

impl Tracker {
    /// Those that may work, in the order of preference.
    pub(crate) const ALL: [Self; 3] = [Self::Userfaultfd, Self::Scan, Self::Pagemap];

    /// The name of one that is asked for.
    pub(crate) fn wanted(self) -> Option<&'static CStr> {
        match self {
            Self::Auto | Self::None => None,
            Self::Userfaultfd => Some(c"userfaultfd"),
            Self::Scan => Some(c"scan"),
            Self::Pagemap => Some(c"pagemap"),
        }
    }
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listen {
    /// A Unix stream socket.
    Unix(PathBuf),
    /// A TCP socket.
    Tcp(SocketAddr),
}

/// How many workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workers {
    /// Twice the number of CPUs, at least [`WORKERS_MIN`].
    Auto,
    /// That many.
    Count(usize),
    /// As the load asks, within these.
    Between(usize, usize),
}

/// What `auto` gives at least: requests wait for databases more than they compute.
const WORKERS_MIN: usize = 4;
/// No pool on one machine needs more; a larger number is a slip.
pub(crate) const WORKERS_MAX: usize = 1024;

impl Workers {
    /// The fewest and the most on a machine with `cpus` CPUs.
    pub(crate) fn resolve(self, cpus: usize) -> (usize, usize) {
        match self {
            Self::Auto => {
                let count = (cpus * 2).clamp(WORKERS_MIN, WORKERS_MAX);
                (count, count)
            }
            Self::Count(count) => (count, count),
            Self::Between(min, max) => (min, max),
        }
    }
}

/// What can be put back between requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reset {
    /// Everything below.
    All,
    /// Nothing.
    None,
    /// Changed settings.
    Ini,
    /// The working directory.
    Cwd,
    /// The file mode mask.
    Umask,
    /// The locale.
    Locale,
    /// The time zone.
    Timezone,
    /// Error and exception handlers.
    Handlers,
}

fn parse_listen(text: &str) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.is_empty() {
            Err("unix: needs a path".into())
        } else {
            Ok(Listen::Unix(path.into()))
        };
    }
    if text.starts_with('/') {
        return Ok(Listen::Unix(text.into()));
    }
    text.parse().map(Listen::Tcp).map_err(|_| format!("\"{text}\" is neither unix:/path nor address:port"))
}

fn parse_workers(text: &str) -> Result<Workers, String> {
    let number = |text: &str| text.parse().ok().filter(|count| (1..=WORKERS_MAX).contains(count));
    let fewest = |text: &str| if text == "0" { Some(0) } else { number(text) };
    let range = || text.split_once('-').and_then(|(min, max)| Some((fewest(min)?, number(max)?)));
    match (number(text), range()) {
        _ if text == "auto" => Ok(Workers::Auto),
        (Some(count), _) => Ok(Workers::Count(count)),
        (_, Some((min, max))) if min <= max => Ok(Workers::Between(min, max)),
        _ => Err(format!(
            "auto, a number from 1 to {WORKERS_MAX}, or two such as MIN-MAX, of which MIN may be 0"
        )),
    }
}

fn parse_mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| "an octal mode, like 660".into())
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !text.contains('\0') => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("not of the form NAME=VALUE".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::try_parse_from(line.split(' ')).map_err(|error| error.to_string())
    }

    #[test]
    fn a_full_line_is_understood() {
        let options = parse(
            "regie-php --pool web --listen unix:/run/web.sock --mode worker --script /srv/worker.php --workers 3 \
             --max-requests 500 --max-memory 256mb --request-timeout 30s --ini memory_limit=1G --env A=b=c \
             --reset ini,cwd --limit-extensions .php",
        )
        .unwrap();
        assert_eq!(options.listen, Some(Listen::Unix("/run/web.sock".into())));
        assert_eq!(options.workers, Workers::Count(3));
        assert_eq!(options.env, [("A".to_owned(), "b=c".to_owned())]);
        assert_eq!(options.reset, [Reset::Ini, Reset::Cwd]);
        assert_eq!(options.limit_extensions, [".php"]);
    }

    #[test]
    fn faults_are_named() {
        for (line, part) in [
            ("regie-php", "--listen"),
            ("regie-php --listen nowhere", "neither unix:/path nor address:port"),
            ("regie-php --listen /s --mode worker", "--script"),
            ("regie-php --listen /s --workers 0", "a number from 1 to 1024"),
            ("regie-php --listen /s --workers 4-2", "MIN-MAX"),
            ("regie-php --listen /s --env A", "NAME=VALUE"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn auto_is_twice_the_cpus_and_never_few() {
        assert_eq!([1, 2, 8].map(|cpus| Workers::Auto.resolve(cpus).0), [4, 4, 16]);
        assert_eq!(Workers::Count(1).resolve(8), (1, 1));
        assert_eq!(parse("regie-php --listen /s --workers 2-16").unwrap().workers.resolve(8), (2, 16));
    }
}
