//! The PHP versions of the machine, and what one of them has loaded.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::composer::minor;
use crate::facts::PhpFacts;
use crate::load::Loaded;

/// PHP answers in milliseconds; one that hangs must not hold up a check.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What a PHP is asked. The ini files are read anew because the command line overrides some of their values.
const QUESTION: &str = "\
    $ini = [];\
    $files = array_merge([php_ini_loaded_file()], array_map('trim', explode(',', (string) php_ini_scanned_files())));\
    foreach (array_filter($files) as $file) {\
        foreach ((array) @parse_ini_file($file, false, INI_SCANNER_RAW) as $name => $value) {\
            if (is_string($value)) { $ini[$name] = $value; }\
        }\
    }\
    echo json_encode([\
        'version' => PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION,\
        'extensions' => array_map('strtolower', get_loaded_extensions()),\
        'ini' => (object) $ini,\
    ], JSON_INVALID_UTF8_SUBSTITUTE);";

/// An installed command-line PHP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Major and minor version.
    pub version: (u32, u32),
    /// The program.
    pub bin: PathBuf,
}

/// The PHPs in the folders of `path` (a `PATH`), ascending by version, each version once. Debian's `phpX.Y` names
/// the version; a plain `php` is asked for its own only when no such name is there.
#[must_use]
pub fn installed(path: &str) -> Vec<Installed> {
    let mut found: Vec<Installed> = Vec::new();
    for folder in path.split(':').filter(|folder| folder.starts_with('/')) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(version) = name.to_str().and_then(|name| name.strip_prefix("php")) else { continue };
            let plain = !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            let Some(version) = minor(version).filter(|_| plain && version.contains('.')) else { continue };
            if is_executable(&entry.path()) && !found.iter().any(|own| own.version == version) {
                found.push(Installed { version, bin: entry.path() });
            }
        }
    }
    if found.is_empty()
        && let Some(bin) =
            path.split(':').map(|folder| Path::new(folder).join("php")).find(|bin| is_executable(bin))
        && let Some(version) = ask(&bin, None).and_then(|answer| minor(answer["version"].as_str()?))
    {
        found.push(Installed { version, bin });
    }
    found.sort_by_key(|own| own.version);
    found
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The PHP that serves an application: `[php] bin` or `version`, else the one that composer.json chose its dependencies
/// for, else the newest that it allows, else the newest.
#[must_use]
pub fn choose(loaded: &Loaded, installed: &[Installed]) -> Option<Installed> {
    let php = &loaded.config.php;
    if let Some(bin) = &php.bin {
        let answer = ask(bin, None)?;
        let version = minor(answer["version"].as_str()?)?;
        return Some(Installed { version, bin: bin.clone() });
    }
    if let Some(version) = php.version.as_deref().and_then(minor) {
        return installed.iter().find(|own| own.version == version).cloned();
    }
    let composer = &loaded.application.composer;
    let chosen_for = installed.iter().find(|own| composer.platform() == Some(own.version));
    let allowed = installed.iter().rev().find(|own| composer.forbids_php(own.version).is_none());
    chosen_for.or(allowed).or_else(|| installed.last()).cloned()
}

/// The folder of ini files that web pools of `version` read: fpm's own, else embed's.
#[must_use]
pub fn ini_dir(version: (u32, u32)) -> Option<PathBuf> {
    let (major, minor) = version;
    let folders = ["fpm", "embed"].map(|sapi| PathBuf::from(format!("/etc/php/{major}.{minor}/{sapi}")));
    folders.into_iter().find(|folder| folder.join("php.ini").is_file() || folder.join("conf.d").is_dir())
}

/// Everything that checks ask of `php`.
pub(super) fn facts(php: &Installed, configured_ini_dir: Option<&Path>) -> PhpFacts {
    let ini_dir = configured_ini_dir.map(Path::to_path_buf).or_else(|| ini_dir(php.version));
    let answer = ask(&php.bin, ini_dir.as_deref()).unwrap_or_default();
    let texts = |value: &serde_json::Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let ini: BTreeMap<String, String> = answer["ini"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect();
    PhpFacts {
        version: php.version,
        bin: php.bin.clone(),
        embed: has_embed(php.version),
        extensions: texts(&answer["extensions"]),
        ini_dir,
        ini,
    }
}

/// Whether the library that `regie-php` of this version links is there.
fn has_embed((major, minor): (u32, u32)) -> bool {
    let library = format!("libphp{major}.{minor}.so");
    let triplet = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    ["/usr/lib", &triplet, "/usr/local/lib", "/lib"]
        .iter()
        .any(|folder| Path::new(folder).join(&library).exists())
}

/// Runs PHP with the ini files of `ini_dir`; `None` when it fails or does not answer.
fn ask(bin: &Path, ini_dir: Option<&Path>) -> Option<serde_json::Value> {
    let mut command = Command::new(bin);
    if let Some(folder) = ini_dir {
        let file = folder.join("php.ini");
        command.arg("-c").arg(if file.is_file() { &file } else { folder });
        command.env("PHP_INI_SCAN_DIR", folder.join("conf.d"));
    }
    command.args([
        "-d",
        "display_errors=0",
        "-d",
        "auto_prepend_file=",
        "-d",
        "auto_append_file=",
        "-r",
        QUESTION,
    ]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let mut output = child.stdout.take()?;
    let (answer, wait) = mpsc::channel();
    let reader = std::thread::Builder::new().name("php-answer".to_owned()).spawn(move || {
        let mut text = String::new();
        let read = output.read_to_string(&mut text).is_ok();
        answer.send(text).ok().filter(|()| read)
    });
    let text = reader.ok().and_then(|_| wait.recv_timeout(ANSWER_LIMIT).ok());
    if text.is_none() {
        child.kill().ok();
    }
    child.wait().ok()?;
    serde_json::from_str(&text?).ok()
}
