//! What Composer's files say: which packages are installed, which PHP and extensions are wanted.

use serde_json::Value;

use crate::files::Files;

/// The facts of composer.json, composer.lock and vendor/composer/installed.json that matter for serving.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Composer {
    /// Installed packages with their versions, without a leading `v`.
    packages: Vec<(String, String)>,
    /// `require.php` of composer.json.
    php: Option<String>,
    /// `config.platform.php` of composer.json.
    platform: Option<String>,
    /// Extensions that composer.json and the installed packages require, without `ext-`.
    extensions: Vec<String>,
}

impl Composer {
    /// Reads the files that are there. One that is no JSON is passed over: Composer itself will complain about it.
    #[must_use]
    pub fn read(files: &dyn Files) -> Self {
        let json = |path: &str| files.read(path).and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let mut composer = Self::default();
        if let Some(root) = json("composer.json") {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            composer.php = text(&root["require"]["php"]);
            composer.platform = text(&root["config"]["platform"]["php"]);
            composer.require(&root);
        }
        // What is installed counts; the lock file stands in for a vendor folder that is not there yet.
        if let Some(installed) = json("vendor/composer/installed.json").or_else(|| json("composer.lock")) {
            let list = installed["packages"].as_array().or_else(|| installed.as_array());
            for package in list.into_iter().flatten() {
                let (Some(name), version) = (package["name"].as_str(), package["version"].as_str()) else {
                    continue;
                };
                let version = version.unwrap_or_default().trim_start_matches('v').to_owned();
                composer.packages.push((name.to_owned(), version));
                composer.require(package);
            }
        }
        composer.extensions.sort();
        composer.extensions.dedup();
        composer
    }

    fn require(&mut self, package: &Value) {
        let names = package["require"].as_object().into_iter().flat_map(|require| require.keys());
        self.extensions
            .extend(names.filter_map(|name| name.strip_prefix("ext-")).map(str::to_ascii_lowercase));
    }

    /// The version of a package, when it is installed.
    #[must_use]
    pub fn version(&self, package: &str) -> Option<&str> {
        self.packages.iter().find(|(name, _)| name == package).map(|(_, version)| version.as_str())
    }

    /// Extensions that are required, without `ext-`, sorted.
    #[must_use]
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// The PHP version, major and minor, that the dependencies were chosen for: `config.platform.php`.
    #[must_use]
    pub fn platform(&self) -> Option<(u32, u32)> {
        self.platform.as_deref().and_then(minor)
    }

    /// Which of Composer's words on PHP's version `version` (major and minor) goes against: the constraint and the key
    /// that names it. `require.php` is a range; `config.platform.php` is the version that the dependencies were chosen
    /// for, so an older one, or another major one, is against it, and a newer one is not.
    #[must_use]
    pub fn forbids_php(&self, version: (u32, u32)) -> Option<(&str, &'static str)> {
        let required = self.php.as_deref().filter(|constraint| !allows(constraint, version));
        let chosen_for = self.platform.as_deref().filter(|platform| {
            let fits =
                |wanted: (u32, u32)| version >= wanted && (version.0 == wanted.0 || self.php.is_some());
            !minor(platform).is_none_or(fits)
        });
        let required = required.map(|constraint| (constraint, "require.php"));
        required.or(chosen_for.map(|platform| (platform, "config.platform.php")))
    }
}

/// The major and minor number at the start of `text`.
#[must_use]
pub fn minor(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().trim_start_matches('v').split('.');
    let number = |part: &str| {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        part[..digits].parse().ok()
    };
    let major = number(parts.next()?)?;
    Some((major, parts.next().and_then(number).unwrap_or(0)))
}

/// Whether Composer's `constraint` lets some patch of the minor `version` in. What is not understood lets it in:
/// refusing to start is worse than PHP's own message.
#[must_use]
pub fn allows(constraint: &str, version: (u32, u32)) -> bool {
    constraint.split("||").flat_map(|part| part.split('|')).any(|alternative| {
        let range = alternative.split_once(" - ");
        if let Some((from, to)) = range {
            return minor(from).is_none_or(|from| version >= from)
                && minor(to).is_none_or(|to| version <= to);
        }
        let joined = join_operators(alternative);
        joined.split([' ', ',']).filter(|term| !term.is_empty()).all(|term| allows_term(term, version))
    })
}

/// `>= 8.1` is the same as `>=8.1`.
fn join_operators(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut after_operator = false;
    for c in text.chars() {
        if c == ' ' && after_operator {
            continue;
        }
        after_operator = matches!(c, '<' | '>' | '=' | '!' | '^' | '~');
        joined.push(c);
    }
    joined
}

fn allows_term(term: &str, version: (u32, u32)) -> bool {
    let start = term.find(|c: char| c.is_ascii_digit()).unwrap_or(term.len());
    let (operator, number) = term.split_at(start);
    let Some(wanted) = minor(number) else { return true };
    let parts = number.split('.').filter(|part| part.starts_with(|c: char| c.is_ascii_digit())).count();
    let has_patch = parts > 2 && !number.split('.').nth(2).is_some_and(|patch| patch.starts_with('0'));
    match operator.trim().trim_end_matches('v') {
        "^" => version.0 == wanted.0 && version >= wanted,
        "~" if parts <= 2 => version.0 == wanted.0 && version >= wanted,
        "~" => version == wanted,
        ">=" | ">" => version >= wanted,
        "<" => version < wanted || (version == wanted && has_patch),
        "<=" => version <= wanted,
        "!=" | "<>" => parts > 2 || version != wanted,
        _ if parts == 1 => version.0 == wanted.0,
        _ => version == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::MemoryFiles;

    #[test]
    fn constraints_let_the_right_versions_in() {
        for (constraint, inside, outside) in [
            ("^8.1", &["8.1", "8.4"][..], &["8.0", "9.0", "7.4"][..]),
            (">=7.4", &["7.4", "8.2"], &["7.3"]),
            (">= 8.1 < 8.4", &["8.1", "8.3"], &["8.0", "8.4"]),
            ("^7.4 || ^8.0", &["7.4", "8.0", "8.4"], &["7.3", "9.0"]),
            ("^7.3|^8.0", &["7.4", "8.2"], &["7.2"]),
            ("~8.1.0", &["8.1"], &["8.2", "8.0"]),
            ("~8.1", &["8.1", "8.3"], &["9.0", "8.0"]),
            ("8.2.*", &["8.2"], &["8.1", "8.3"]),
            ("8.*", &["8.0", "8.5"], &["7.4"]),
            ("8.0 - 8.2", &["8.0", "8.2"], &["8.3"]),
            (">=8.1,<8.3", &["8.1", "8.2"], &["8.3"]),
            (">8.1", &["8.1", "8.2"], &["8.0"]),
            ("<8.3.5", &["8.3", "8.2"], &["8.4"]),
            ("*", &["7.0", "8.4"], &[]),
            ("dev-main", &["8.2"], &[]),
        ] {
            for version in inside {
                assert!(allows(constraint, minor(version).unwrap()), "{constraint} lets {version} in");
            }
            for version in outside {
                assert!(!allows(constraint, minor(version).unwrap()), "{constraint} keeps {version} out");
            }
        }
    }

    #[test]
    fn installed_packages_win_over_the_lock_file() {
        let files = MemoryFiles::new([
            ("composer.json", r#"{"require": {"php": "^8.1", "ext-intl": "*"}}"#),
            ("composer.lock", r#"{"packages": [{"name": "a/b", "version": "v1.0.0"}]}"#),
            (
                "vendor/composer/installed.json",
                r#"{"packages": [{"name": "a/b", "version": "v2.1.0", "require": {"ext-PDO": "*", "php": ">=7"}}]}"#,
            ),
        ]);
        let composer = Composer::read(&files);
        assert_eq!(composer.version("a/b"), Some("2.1.0"));
        assert_eq!(composer.extensions(), ["intl", "pdo"]);
        assert_eq!(composer.forbids_php((8, 2)), None);
        assert_eq!(composer.forbids_php((8, 0)), Some(("^8.1", "require.php")));
    }

    #[test]
    fn the_platform_setting_names_the_oldest_version() {
        const PLATFORM: Option<(&str, &str)> = Some(("8.2.7", "config.platform.php"));
        let alone = r#"{"config": {"platform": {"php": "8.2.7"}}}"#;
        let ranged = r#"{"require": {"php": ">=8.1"}, "config": {"platform": {"php": "8.2.7"}}}"#;
        for (text, version, expected) in [
            (alone, (8, 1), PLATFORM),
            (alone, (8, 2), None),
            (alone, (8, 3), None),
            (alone, (9, 0), PLATFORM),
            (ranged, (8, 0), Some((">=8.1", "require.php"))),
            (ranged, (8, 1), PLATFORM),
            (ranged, (9, 0), None),
        ] {
            let composer = Composer::read(&MemoryFiles::new([("composer.json", text)]));
            assert_eq!(composer.forbids_php(version), expected, "{text} {version:?}");
        }
        assert_eq!(Composer::read(&MemoryFiles::new([("composer.json", "{")])), Composer::default());
    }
}
