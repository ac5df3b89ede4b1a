//! How the engine is started: the settings that C is given, made once and kept for the process's life.

use std::ffi::CStr;
use std::path::{Path, PathBuf};

use regie_php_sys::{self as sys, Param, Request, Settings, Text};

use super::callbacks::CALLBACKS;
use super::listen::keep_text;
use crate::options::{Mode, Options, Reset};

/// The folder of the settings: the chosen one, else that of the version's fpm (web) or cli (jobs), where it exists.
pub(crate) fn ini_folder(options: &Options) -> Option<PathBuf> {
    if let Some(chosen) = &options.ini_dir {
        return Some(chosen.clone());
    }
    let kind = if options.sapi_name == "cli" { "cli" } else { "fpm" };
    let folder = PathBuf::from(format!("/etc/php/{}/{kind}", sys::MINOR));
    folder.is_dir().then_some(folder)
}

/// Settings of which PHP's command line has its own values, whatever php.ini says.
const CLI_INI: [(&str, &str); 6] = [
    ("html_errors", "0"),
    ("implicit_flush", "1"),
    ("max_execution_time", "0"),
    ("max_input_time", "-1"),
    ("output_buffering", "0"),
    ("register_argc_argv", "1"),
];

/// Lines that win over php.ini, in order: what we want unless told otherwise, then `--ini`.
fn ini_lines(options: &Options, is_root: bool) -> String {
    let mut lines = String::new();
    let mut line = |name: &str, value: &str| {
        let quoted = value.replace('"', "\\\"");
        lines.push_str(&format!("{name}=\"{quoted}\"\n"));
    };
    line("opcache.enable", "1");
    if options.sapi_name == "cli" {
        line("opcache.enable_cli", "1");
        // What PHP's own command line insists on.
        for (name, value) in CLI_INI {
            line(name, value);
        }
    }
    // Its answer to a worker that holds the cache is to kill it in mid-request; ours is a new generation of the pool.
    if options.mode != Mode::Classic {
        line("opcache.force_restart_timeout", "2147483");
    }
    // Preloading as root needs a user to do it as; php-fpm's master has the same rule.
    if is_root {
        line("opcache.preload_user", options.user.as_deref().unwrap_or("root"));
    }
    line("display_startup_errors", "0");
    for (name, value) in &options.ini {
        line(name, value);
    }
    lines
}

fn resets(options: &Options) -> u32 {
    options.reset.iter().fold(0, |bits, reset| match reset {
        Reset::All => {
            sys::RESET_INI
                | sys::RESET_CWD
                | sys::RESET_UMASK
                | sys::RESET_LOCALE
                | sys::RESET_TIMEZONE
                | sys::RESET_HANDLERS
        }
        Reset::None => 0,
        Reset::Ini => bits | sys::RESET_INI,
        Reset::Cwd => bits | sys::RESET_CWD,
        Reset::Umask => bits | sys::RESET_UMASK,
        Reset::Locale => bits | sys::RESET_LOCALE,
        Reset::Timezone => bits | sys::RESET_TIMEZONE,
        Reset::Handlers => bits | sys::RESET_HANDLERS,
    })
}

/// What the engine is started with.
pub(crate) struct Start {
    pub(crate) settings: &'static Settings,
    /// The script of all requests; absent in classic mode, where each names its own.
    pub(crate) worker_script: Text,
}

/// Makes the settings. `script` is the worker script's absolute path.
pub(crate) fn settings(options: &Options, script: Option<&Path>, is_root: bool) -> Start {
    let worker = options.mode == Mode::Worker;
    let path = script.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let worker_script = if script.is_some() { text(&path) } else { Text::ABSENT };
    let folder = ini_folder(options);
    let mut env: Vec<Param> = options.env.iter().map(|(name, value)| param(name, value)).collect();
    if worker {
        env.push(param("FRANKENPHP_WORKER", "1"));
    }
    let env = Vec::leak(env);
    let boot = Box::leak(Box::new(if options.sapi_name == "cli" {
        command_line_request(&path, worker_script, env)
    } else {
        boot_request(&path, worker_script, env)
    }));
    let pointer = |text: &'static CStr| text.as_ptr();
    let optional = |path: Option<PathBuf>| {
        path.map_or(std::ptr::null(), |path| pointer(keep_text(&path.to_string_lossy())))
    };
    let settings = Box::leak(Box::new(Settings {
        sapi_name: pointer(keep_text(&options.sapi_name)),
        ini_path: optional(folder.clone()),
        ini_scan_path: optional(folder.map(|folder| folder.join("conf.d")).filter(|folder| folder.is_dir())),
        ini_entries: pointer(keep_text(&ini_lines(options, is_root))),
        executable: pointer(keep_text(sys::PHP_BINARY)),
        callbacks: &raw const CALLBACKS,
        boot,
        worker_env: env.as_ptr(),
        worker_env_len: env.len(),
        stack_size: usize::try_from(options.stack.0).unwrap_or(16 << 20).max(1 << 20),
        resets: resets(options),
        worker_mode: u8::from(worker),
        paranoid: u8::from(options.paranoid),
        define_streams: u8::from(worker || options.sapi_name == "cli"),
        rewind: u8::from(options.mode == Mode::Rewind),
    }));
    Start { settings, worker_script }
}

/// What `$_SERVER` describes before the first request: the worker script itself.
fn boot_request(path: &str, script: Text, env: &[Param]) -> Request {
    let name =
        Path::new(path).file_name().map(|name| format!("/{}", name.to_string_lossy())).unwrap_or_default();
    let root = Path::new(path).parent().map(|root| root.to_string_lossy().into_owned()).unwrap_or_default();
    let mut params: Vec<Param> = [
        ("SCRIPT_FILENAME", path),
        ("SCRIPT_NAME", name.as_str()),
        ("PHP_SELF", name.as_str()),
        ("DOCUMENT_ROOT", root.as_str()),
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", name.as_str()),
        ("QUERY_STRING", ""),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("SERVER_SOFTWARE", "regie-php"),
    ]
    .iter()
    .map(|(name, value)| param(name, value))
    .collect();
    params.extend_from_slice(env);
    request(script, params, text("GET"), text(&name))
}

/// What `$_SERVER` describes in a pool for jobs: a script that was started by hand. Frameworks look here, too, to tell
/// whether there is a visitor.
fn command_line_request(path: &str, script: Text, env: &[Param]) -> Request {
    let mut params: Vec<Param> = ["PHP_SELF", "SCRIPT_NAME", "SCRIPT_FILENAME", "PATH_TRANSLATED"]
        .iter()
        .map(|name| param(name, path))
        .chain([param("DOCUMENT_ROOT", "")])
        .collect();
    params.extend_from_slice(env);
    request(script, params, Text::ABSENT, Text::ABSENT)
}

fn request(script: Text, params: Vec<Param>, method: Text, uri: Text) -> Request {
    let params = Vec::leak(params);
    Request {
        method,
        uri,
        query: text(""),
        content_type: Text::ABSENT,
        script,
        cookie: Text::ABSENT,
        authorization: Text::ABSENT,
        php_value: Text::ABSENT,
        php_admin_value: Text::ABSENT,
        params: params.as_ptr(),
        params_len: params.len(),
        content_length: 0,
        protocol: 1001,
        message: 0,
    }
}

fn param(name: &str, value: &str) -> Param {
    Param { name: text(name), value: text(value) }
}

/// A text that lives as long as the process.
fn text(value: &str) -> Text {
    let kept = keep_text(value);
    Text { ptr: kept.as_ptr(), len: kept.to_bytes().len() }
}
