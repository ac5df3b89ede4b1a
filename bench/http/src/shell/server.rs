//! The two sides: Debian's nginx with php-fpm, and Régie. Same folder, same number of PHP workers, same ini values,
//! no access log on either.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::child::Program;
use super::clock::{ms_since, now, until};
use super::family::{Process, family};
use super::http::Connection;
use super::machine;
use super::scenario::Settings;
use super::site::{Site, USER, is_root, write};
use crate::catalogue::Mode;

/// How long a side may take to give its first answer.
const START_LIMIT: Duration = Duration::from_secs(30);

/// What both sides are set to. On ours they go to regie.toml, on the other to php-fpm's command line.
pub(crate) const INI: [(&str, &str); 8] = [
    ("opcache.enable", "1"),
    ("opcache.validate_timestamps", "0"),
    ("opcache.memory_consumption", "128"),
    ("opcache.max_accelerated_files", "10000"),
    ("memory_limit", "256M"),
    ("upload_max_filesize", "250M"),
    ("post_max_size", "250M"),
    ("max_execution_time", "30"),
];

/// A side that runs. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Where HTTP/2 is spoken in clear.
    pub(crate) h2: SocketAddr,
    /// From the start of the first program to the first answer.
    pub(crate) first_answer_ms: f64,
    programs: Vec<Program>,
}

impl Server {
    /// All its processes.
    pub(crate) fn processes(&self) -> Vec<Process> {
        family(&self.programs.iter().map(Program::pid).collect::<Vec<_>>())
    }

    /// The processes that wait while nothing is asked: of Régie its supervisor and gateway.
    pub(crate) fn idle_processes(&self) -> Vec<Process> {
        let mut roots = self.programs.iter().map(Program::pid);
        let root = roots.next();
        let all = self.processes();
        all.into_iter()
            .filter(|process| Some(process.pid) == root || process.command.contains("role gateway"))
            .collect()
    }

    /// Waits for the first 200 on `path`.
    fn ready(mut self, path: &str, start: Instant) -> Result<Self, String> {
        let mut last = String::new();
        let ended = until(START_LIMIT, Duration::from_millis(1), || {
            for program in &mut self.programs {
                if let Err(fault) = program.running() {
                    return Some(Err(fault));
                }
            }
            match Connection::open(self.address).and_then(|mut connection| connection.get(path, None)) {
                Ok(reply) if reply.status == 200 => Some(Ok(ms_since(start))),
                Ok(reply) => {
                    last = format!("status {}", reply.status);
                    None
                }
                Err(fault) => {
                    last = fault.to_string();
                    None
                }
            }
        });
        match ended {
            Some(Ok(ms)) => {
                self.first_answer_ms = ms;
                Ok(self)
            }
            Some(Err(fault)) => Err(fault),
            None => {
                let words: Vec<String> = self.programs.iter().map(Program::last_words).collect();
                Err(format!(
                    "no 200 from {path} within {} s ({last}): {}",
                    START_LIMIT.as_secs(),
                    words.join("\n")
                ))
            }
        }
    }
}

/// An address of loopback that was free a moment ago.
fn free_address() -> Result<SocketAddr, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|fault| format!("no free port: {fault}"))
}

/// nginx and php-fpm, with files in `folder`.
pub(crate) fn peer(
    site: &Site,
    workers: u32,
    settings: &Settings,
    path: &str,
    folder: &Path,
) -> Result<Server, String> {
    let php_fpm = machine::php_fpm()?;
    let nginx = machine::find("nginx", "nginx-light")?;
    let socket = folder.join("fpm.sock");
    let (address, h2) = (free_address()?, free_address()?);

    let mut pool = format!(
        "[global]\nerror_log = {0}/fpm.log\npid = {0}/fpm.pid\ndaemonize = no\n[web]\nlisten = {1}\nlisten.mode = 0666\n\
         pm = static\npm.max_children = {workers}\nclear_env = no\n",
        folder.display(),
        socket.display(),
    );
    if is_root() {
        let _ = write!(pool, "user = {USER}\ngroup = {USER}\n");
    }
    let fpm_conf = folder.join("fpm.conf");
    write(&fpm_conf, pool.as_bytes())?;
    let nginx_conf = folder.join("nginx.conf");
    write(
        &nginx_conf,
        nginx_config(site, [address, h2], &socket, settings.keepalive, workers, folder).as_bytes(),
    )?;

    let start = now();
    let mut command = Command::new(php_fpm);
    command.arg("-F").arg("-y").arg(&fpm_conf);
    for (name, value) in &settings.ini {
        command.arg("-d").arg(format!("{name}={value}"));
    }
    let fpm = Program::start("php-fpm", &mut command, folder)?;
    let mut command = Command::new(nginx);
    command.arg("-p").arg(folder).arg("-e").arg(folder.join("nginx.log")).arg("-c").arg(&nginx_conf);
    let nginx = Program::start("nginx", &mut command, folder)?;
    Server { address, h2, first_answer_ms: 0.0, programs: vec![nginx, fpm] }.ready(path, start)
}

fn nginx_config(
    site: &Site,
    listen: [SocketAddr; 2],
    socket: &Path,
    keepalive: bool,
    workers: u32,
    folder: &Path,
) -> String {
    let folder = folder.display();
    let fallback = if site.front_controller { "/index.php?$query_string" } else { "=404" };
    let user = if is_root() { format!("user {USER};\n") } else { String::new() };
    let (upstream_keepalive, keep_conn) = if keepalive {
        (format!("keepalive {workers};"), "fastcgi_keep_conn on;")
    } else {
        (String::new(), "")
    };
    let temporary: String = ["client_body", "fastcgi", "proxy", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("    {name}_temp_path {folder}/{name};\n"))
        .collect();
    format!(
        "{user}daemon off;\nworker_processes 2;\npid {folder}/nginx.pid;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n    include /etc/nginx/mime.types;\n    access_log off;\n    sendfile on;\n    tcp_nopush on;\n\
         {temporary}    keepalive_requests 100000000;\n    client_max_body_size 250m;\n\
         \x20   upstream php {{ server unix:{}; {upstream_keepalive} }}\n\
         \x20   server {{\n        listen {} backlog=1024;\n        listen {} http2;\n        root {};\n        index index.php;\n\
         \x20       location / {{ try_files $uri $uri/ {fallback}; }}\n\
         \x20       location ~ \\.php$ {{\n            try_files $uri =404;\n            include /etc/nginx/fastcgi.conf;\n\
         \x20           fastcgi_pass php;\n            {keep_conn}\n        }}\n    }}\n}}\n",
        socket.display(),
        listen[0],
        listen[1],
        site.public.display(),
    )
}

/// How our side runs PHP.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ours {
    pub(crate) workers: u32,
    pub(crate) mode: Mode,
    pub(crate) lane: bool,
    /// The worker script, where it is not Régie's.
    pub(crate) script: Option<&'static str>,
}

impl Ours {
    pub(crate) const fn new(workers: u32, mode: Mode) -> Self {
        Self { workers, mode, lane: true, script: None }
    }
}

/// `regie up` in the site's folder.
pub(crate) fn regie(
    site: &Site,
    ours: Ours,
    ini: &[(String, String)],
    path: &str,
    folder: &Path,
) -> Result<Server, String> {
    let program = machine::regie()?;
    let address = free_address()?;
    let ini: Vec<String> = ini.iter().map(|(name, value)| format!("\"{name}\" = \"{value}\"")).collect();
    let mode = match (ours.mode, site.has_worker) {
        (Mode::Worker, true) => "mode = \"worker\"\nmax_requests = 0\n",
        (Mode::Rewind, _) => "mode = \"rewind\"\n",
        _ => "mode = \"classic\"\n",
    };
    let script = ours.script.map(|script| format!("script = \"{script}\"\n")).unwrap_or_default();
    let config = format!(
        "[app]\nenv = \"production\"\n[gateway]\nlisten = [\"{address}\"]\naccess_log = \"off\"\nbody_limit = \"250mb\"\n\
         [php]\nini = {{ {} }}\n[php.web]\nworkers = {}\nlane = {}\n{mode}{script}",
        ini.join(", "),
        ours.workers,
        ours.lane,
    );
    write(&site.folder.join("regie.toml"), config.as_bytes())?;

    let start = now();
    let mut command = Command::new(program);
    command
        .arg("up")
        .current_dir(&site.folder)
        .env_remove("APP_ENV")
        .env_remove("NOTIFY_SOCKET")
        .env("NO_COLOR", "1");
    let regie = Program::start("regie", &mut command, folder)?;
    Server { address, h2: address, first_answer_ms: 0.0, programs: vec![regie] }.ready(path, start)
}
