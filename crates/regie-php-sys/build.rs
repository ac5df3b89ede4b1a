//! Finds PHP by asking `php-config` (`PHP_CONFIG` names another one), compiles the C SAPI against its headers and
//! links its embeddable library.

use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const SOURCES: &[&str] = &[
    "cputime.c",
    "cwd.c",
    "functions.c",
    "ini.c",
    "inspect.c",
    "json.c",
    "layout.c",
    "message.c",
    "paranoid.c",
    "peek.c",
    "request.c",
    "reset.c",
    "rewind.c",
    "rewind_boot.c",
    "rewind_engine.c",
    "rewind_files.c",
    "rewind_kernel.c",
    "rewind_memory.c",
    "rewind_tracker.c",
    "sapi.c",
    "stack.c",
    "timeout.c",
    "title.c",
    "userini.c",
    "worker.c",
];

#[expect(clippy::disallowed_macros, reason = "this is how a build script speaks to Cargo")]
fn main() {
    println!("cargo:rerun-if-env-changed=PHP_CONFIG");
    println!("cargo:rerun-if-changed=csrc");
    let php_config = find_php_config();
    let version = ask(&php_config, "--version");
    let minor = version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    let (library, folder) = find_library(&php_config, &minor);

    let mut build = cc::Build::new();
    build.std("gnu11").opt_level(2).warnings(true).extra_warnings(false).flag("-Wno-unused-parameter");
    // Before any header: PHP 8.4's own use what it declares, and define it themselves too late for some orders.
    build.define("_GNU_SOURCE", None);
    for include in ask(&php_config, "--includes").split_whitespace() {
        // As system headers, so that their warnings stay theirs.
        build.flag("-isystem").flag(include.trim_start_matches("-I"));
    }
    for source in SOURCES {
        build.file(Path::new("csrc").join(source));
    }
    build.compile("regie_php");
    println!("cargo:rustc-link-search=native={}", folder.display());
    println!("cargo:rustc-link-lib=dylib={library}");
    println!("cargo:rustc-env=REGIE_PHP_BUILT_FOR={version}");
    println!("cargo:rustc-env=REGIE_PHP_MINOR={minor}");
    println!("cargo:rustc-env=REGIE_PHP_BINARY={}", ask(&php_config, "--php-binary"));
}

/// The `php-config` of the version that is asked for, else of Debian's 8.2, else the default one.
fn find_php_config() -> String {
    if let Ok(chosen) = std::env::var("PHP_CONFIG") {
        if runs(&chosen) {
            return chosen;
        }
        give_up(&format!("PHP_CONFIG={chosen} cannot be run"), "8.2");
    }
    ["php-config8.2", "php-config"]
        .into_iter()
        .find(|name| runs(name))
        .map_or_else(|| give_up("php-config is not installed", "8.2"), str::to_owned)
}

fn runs(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn ask(php_config: &str, question: &str) -> String {
    let output = Command::new(php_config).arg(question).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// Debian calls the library `libphp8.2.so`; PHP's own build calls it `libphp.so` and puts it below its prefix.
fn find_library(php_config: &str, minor: &str) -> (String, PathBuf) {
    let own = PathBuf::from(ask(php_config, "--prefix")).join("lib");
    let folders = [PathBuf::from("/usr/lib"), own];
    let names = [format!("php{minor}"), "php".to_owned()];
    for folder in &folders {
        for name in &names {
            // A plain libphp.so in /usr/lib may belong to another version.
            let shared = name == "php"
                && folder == Path::new("/usr/lib")
                && folder.join(format!("libphp{minor}.so")).exists();
            if !shared && folder.join(format!("lib{name}.so")).exists() {
                return (name.clone(), folder.clone());
            }
        }
    }
    give_up(&format!("the embeddable library of PHP {minor} is not installed"), minor)
}

#[expect(clippy::disallowed_methods, reason = "a build script fails by its exit code")]
fn give_up(what: &str, minor: &str) -> ! {
    eprintln!("error: {what}");
    eprintln!("help: on Debian: apt-get install php{minor}-dev libphp{minor}-embed php{minor}-cli");
    eprintln!("help: another PHP: PHP_CONFIG=/path/to/php-config cargo build");
    exit(1)
}
