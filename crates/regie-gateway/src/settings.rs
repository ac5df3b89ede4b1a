//! What a gateway is told. The binary fills it from the configuration; nothing here reads files.

use std::path::PathBuf;
use std::time::Duration;

use regie_core::{Patterns, Rules};
use regie_pool::PoolSettings;

use crate::access_log::LogFormat;
use crate::encoding::Coding;
use crate::proxies::TrustedProxies;

/// Everything that a gateway is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The document root. It may lead through symbolic links: they are followed anew at least once a second, so a
    /// release that is switched by its link is seen.
    pub root: PathBuf,
    /// The application's folder, when it is not the document root. Links out of the document root may lead into it.
    pub app_root: Option<PathBuf>,
    /// More folders that links out of the document root may lead into.
    pub link_targets: Vec<PathBuf>,
    /// The script for everything that is no file, below the document root: `/index.php`.
    pub front_controller: Option<String>,
    /// Worker mode: the one script that the pool runs, as a path of the file system. Every PHP request becomes its.
    pub worker_script: Option<PathBuf>,
    /// Names to look for in a folder.
    pub index: Vec<String>,
    /// Folders that take uploads (below the document root), beside the known ones: no PHP is run there.
    pub upload_folders: Vec<String>,
    /// Paths below the document root that are never served: to the rules of routing they do not exist.
    pub deny: Patterns,
    /// Requests that are sent elsewhere, and headers of answers.
    pub rules: Rules,
    /// The pool that runs PHP; none = files only, and PHP answers 503.
    pub pool: Option<PoolSettings>,
    /// Worker mode: the pool that runs the PHP files which are not the worker's; none = they do not exist.
    pub side_pool: Option<PoolSettings>,
    /// Host names that are answered, `*.example.org` for all below one; empty = all. Others get 421.
    pub hosts: Vec<String>,
    /// Whose word on the client's address and scheme is believed.
    pub trusted_proxies: TrustedProxies,
    /// `SERVER_SOFTWARE`. It names nginx, too: applications (WordPress among them) look for it to learn whether addresses
    /// without a script in them reach their front controller.
    pub server_software: String,
    /// Pairs that are added to each request's parameters.
    pub params: Vec<(String, String)>,
    /// Folders that `X-Accel-Redirect` addresses lead to: prefix of the address, folder.
    pub accel: Vec<(String, PathBuf)>,
    /// Folders, beside the application's own, whose files `X-Sendfile` may send.
    pub sendfile_roots: Vec<PathBuf>,
    /// Codings of PHP's answers, best first; none = they are not compressed. Files beside which `.br`, `.zst` or `.gz`
    /// lies are sent in that form either way.
    pub compression: Vec<Coding>,
    /// Whether uploads are taken in completely before a worker gets the request. Off, a slow client holds a worker.
    pub buffer_requests: bool,
    /// Where bodies that do not fit in memory wait, those of requests and those of answers.
    pub spool_dir: PathBuf,
    /// The access log; none = no log.
    pub access_log: Option<LogFormat>,
    /// Whether error pages say what went wrong behind the gateway (development).
    pub explain_errors: bool,
    /// All bounds.
    pub limits: Limits,
}

impl Settings {
    /// Defaults for a plain folder of files without PHP.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            app_root: None,
            link_targets: Vec::new(),
            front_controller: None,
            worker_script: None,
            index: vec!["index.php".into(), "index.html".into()],
            upload_folders: Vec::new(),
            deny: Patterns::default(),
            rules: Rules::default(),
            pool: None,
            side_pool: None,
            hosts: Vec::new(),
            trusted_proxies: TrustedProxies::default(),
            server_software: concat!("Regie/", env!("CARGO_PKG_VERSION"), " (like nginx)").into(),
            params: Vec::new(),
            accel: Vec::new(),
            sendfile_roots: Vec::new(),
            compression: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip],
            buffer_requests: true,
            spool_dir: std::env::temp_dir(),
            access_log: None,
            explain_errors: false,
            limits: Limits::default(),
        }
    }
}

/// Every bound of the gateway. Past each there is an answer that the field names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; further ones wait in the listener's backlog.
    pub connections: usize,
    /// Streams at once on an HTTP/2 connection; the client is told.
    pub streams: u32,
    /// Bytes of a request's head: 431, or 414 within the request line.
    pub head: usize,
    /// Bytes of a request's body: 413.
    pub body: u64,
    /// Bytes of a body that are kept in memory before it goes to the spool.
    pub body_in_memory: usize,
    /// For the head of a request, from its first byte: 408.
    pub head_timeout: Duration,
    /// Between two pieces of a request's body: 408.
    pub body_timeout: Duration,
    /// Between two pieces of a response that the client takes: the connection is closed.
    pub write_timeout: Duration,
    /// Between two requests: the connection is closed.
    pub keep_alive: Duration,
    /// Requests on one connection: it is closed after the last.
    pub requests_per_connection: u64,
    /// For a graceful stop; what is left is cut.
    pub drain: Duration,
    /// A request (`GET` or `POST`, its body in memory) whose client hangs up while it waits for a worker waits so long on,
    /// and is begun all the same when a worker is free by then. Zero: it is withdrawn at once.
    pub hangup_grace: Duration,
    /// Bytes of an answer that are read ahead of a slow client and kept in memory, so that its worker is free again.
    pub read_ahead: usize,
    /// Bytes of an answer that are kept in a file past those: the worker waits for the client. 0 = no file.
    pub answer_spool: u64,
    /// Bytes of all such files together: as above.
    pub answer_spools: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            streams: 128,
            head: 64 * 1024,
            body: 200 * 1024 * 1024,
            body_in_memory: 64 * 1024,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            keep_alive: Duration::from_secs(75),
            requests_per_connection: 100_000,
            drain: Duration::from_secs(30),
            hangup_grace: Duration::from_secs(1),
            read_ahead: 1024 * 1024,
            answer_spool: 1024 * 1024 * 1024,
            answer_spools: 4 * 1024 * 1024 * 1024,
        }
    }
}
