//! The folders that are served: one copy for each side, alike to the byte.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::User;

use crate::catalogue::Application;

/// An application's folder.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) folder: PathBuf,
    /// The document root.
    pub(crate) public: PathBuf,
    /// Whether unknown paths go to index.php.
    pub(crate) front_controller: bool,
    /// Whether it can be served in worker mode.
    pub(crate) has_worker: bool,
}

/// The user that PHP runs as on both sides when the benchmark is run as root: never root.
pub(crate) const USER: &str = "www-data";

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Makes `application` in `folder`, which is new.
pub(crate) fn make(application: Application, folder: &Path) -> Result<Site, String> {
    fs::create_dir_all(folder).map_err(|fault| format!("{}: {fault}", folder.display()))?;
    let site = match application {
        Application::Plain => plain(folder)?,
        Application::Laravel => laravel(folder, &["config:cache", "route:cache", "view:cache"])?,
        Application::LaravelUncached => laravel(folder, &["view:cache"])?,
    };
    if is_root() {
        give_away(folder)?;
    }
    Ok(site)
}

/// Scripts of the plain folder. Each is what its scenario says and nothing more.
const SCRIPTS: [(&str, &str); 6] = [
    ("hello.php", "<?php\necho \"Hello, world!\\n\";\n"),
    ("large.php", "<?php\necho 'a megabyte of ', str_repeat('text that is sent', 1 << 16), \"\\n\";\n"),
    ("input.php", "<?php\necho strlen(file_get_contents('php://input')), \" bytes\\n\";\n"),
    ("slow.php", "<?php\nusleep(500_000);\necho \"slow\\n\";\n"),
    ("wait.php", "<?php\nusleep(100_000);\necho \"waited\\n\";\n"),
    (
        "upload.php",
        "<?php\n$file = $_FILES['file'] ?? null;\nheader('Content-Type: text/plain');\n\
         echo $file && $file['error'] === 0 ? $file['size'] . ' ' . md5_file($file['tmp_name']) : 'nothing', \"\\n\";\n",
    ),
];

fn plain(folder: &Path) -> Result<Site, String> {
    for (name, text) in SCRIPTS {
        write(&folder.join(name), text.as_bytes())?;
    }
    const FILE_SIZE: usize = 10 * 1024;
    let mut text =
        "this is a line of the file that is served, and another, and another\n".repeat(FILE_SIZE / 64);
    text.truncate(FILE_SIZE);
    write(&folder.join("file.txt"), text.as_bytes())?;
    Ok(Site {
        folder: folder.to_owned(),
        public: folder.to_owned(),
        front_controller: false,
        has_worker: false,
    })
}

/// A worker script for Laravel without which nothing would run at all: what a request changes, the next one meets. Its
/// path in the application's folder.
pub(crate) const BARE_LOOP: &str = "bare-loop.php";

const BARE_LOOP_TEXT: &str = "<?php
require __DIR__ . '/vendor/autoload.php';
$app = require __DIR__ . '/bootstrap/app.php';
$kernel = $app->make(Illuminate\\Contracts\\Http\\Kernel::class);
while (frankenphp_handle_request(function () use ($kernel) {
    $request = Illuminate\\Http\\Request::capture();
    $response = $kernel->handle($request);
    $response->send();
    $kernel->terminate($request, $response);
})) {
}
";

/// The Laravel example in production, with a key and those caches.
fn laravel(folder: &Path, caches: &[&str]) -> Result<Site, String> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    run(Command::new(repository.join("e2e/apps/base.sh")).arg("laravel-ready").arg(folder))?;
    write(&folder.join(BARE_LOOP), BARE_LOOP_TEXT.as_bytes())?;
    for cache in caches {
        run(Command::new("php").arg("artisan").arg(cache).current_dir(folder))?;
    }
    Ok(Site {
        folder: folder.to_owned(),
        public: folder.join("public"),
        front_controller: true,
        has_worker: true,
    })
}

fn run(command: &mut Command) -> Result<(), String> {
    let line = format!("{command:?}");
    let output = command.output().map_err(|fault| format!("{line}: {fault}"))?;
    if output.status.success() {
        return Ok(());
    }
    let printed =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Err(format!("{line} ended with {}: {}", output.status, printed.trim()))
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|fault| format!("{}: {fault}", path.display()))
}

/// Makes [`USER`] the owner of a whole tree.
fn give_away(path: &Path) -> Result<(), String> {
    let user = User::from_name(USER).ok().flatten().ok_or_else(|| format!("there is no user {USER}"))?;
    let mut rest = vec![path.to_owned()];
    while let Some(path) = rest.pop() {
        let fault = |fault: std::io::Error| format!("{}: {fault}", path.display());
        chown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).map_err(fault)?;
        if path.is_dir() {
            for entry in fs::read_dir(&path).map_err(fault)? {
                rest.push(entry.map_err(fault)?.path());
            }
        }
    }
    Ok(())
}

/// Lets other users through a temporary folder.
pub(crate) fn open(folder: &Path) -> Result<(), String> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
        .map_err(|fault| format!("{}: {fault}", folder.display()))
}
