//! What the machine is, and where its programs are.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::report::Machine;

pub(crate) fn describe(php_fpm: &Path) -> Machine {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpuinfo.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    Machine {
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        cpu: model.map_or("unknown", |(_, name)| name).to_owned(),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        php: first_line(Command::new(php_fpm).arg("-v")),
        nginx: first_line(Command::new("nginx").arg("-v")),
    }
}

fn first_line(command: &mut Command) -> String {
    let Ok(output) = command.output() else { return "unknown".to_owned() };
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown").to_owned()
}

/// A program of the PATH or of the folders where Debian keeps daemons.
pub(crate) fn find(name: &str, package: &str) -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/bin")])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("{name} is missing: apt-get install {package}"))
}

/// php-fpm of PHP_VERSION, else of 8.2, else of the newest version that is there.
pub(crate) fn php_fpm() -> Result<PathBuf, String> {
    let asked = env::var("PHP_VERSION").ok();
    let versions = asked.map_or_else(
        || ["8.2", "8.5", "8.4", "8.3", "8.1"].map(str::to_owned).to_vec(),
        |version| vec![version],
    );
    versions
        .iter()
        .find_map(|version| find(&format!("php-fpm{version}"), "").ok())
        .ok_or_else(|| format!("php-fpm is missing: apt-get install php{}-fpm", versions[0]))
}

/// `regie`: REGIE_BIN, else the one beside this program.
pub(crate) fn regie() -> Result<PathBuf, String> {
    let file = match env::var_os("REGIE_BIN") {
        Some(file) => PathBuf::from(file),
        None => env::current_exe()
            .map_err(|fault| format!("the folder of this program cannot be found: {fault}"))?
            .with_file_name("regie"),
    };
    if !file.is_file() {
        return Err(format!("{} is missing: cargo build --release -p regie -p regie-php", file.display()));
    }
    file.canonicalize().map_err(|fault| format!("{}: {fault}", file.display()))
}
