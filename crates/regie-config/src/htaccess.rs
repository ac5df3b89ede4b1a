//! `.htaccess` files: what of them is honoured, what is only named, and which folders are refused.
//!
//! Applications protect folders with them, so silence is dangerous: a folder whose deny is not understood is refused
//! whole. Denies become patterns for the gateway. A rewrite to a front controller says what the gateway does anyway.
//! Redirects and headers are read into rows, and named as long as the gateway does not act on them; what cannot be
//! said with a row is named with its line. `<IfModule>` is taken as present, `<IfModule !…>` as absent, except that a
//! deny counts in both.

use serde::Serialize;

use crate::application::below;
use crate::check::{Finding, Severity};
use crate::files::Files;

/// At most so many folders of a document root are looked into.
pub const FOLDERS_MAX: usize = 4096;

/// What the `.htaccess` files of a document root ask for. Paths are relative to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Htaccess {
    /// Patterns that are never served, as `[gateway] deny` has them.
    pub deny: Vec<String>,
    /// Redirects.
    pub redirects: Vec<Redirect>,
    /// Response headers.
    pub headers: Vec<Header>,
    /// What a person should know.
    pub findings: Vec<Finding>,
}

/// A redirect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Redirect {
    /// The path from which it leads away, and everything below it.
    pub from: String,
    /// Where to: a URL or a path.
    pub to: String,
    /// 301, 302, 303, 307, 308 or 410.
    pub status: u16,
}

/// A response header for everything below a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Header {
    /// The folder; empty for the whole document root.
    pub folder: String,
    /// Its name.
    pub name: String,
    /// Its value; `None` takes the header away.
    pub value: Option<String>,
}

impl Htaccess {
    /// Reads every `.htaccess` of the document root `public`.
    #[must_use]
    pub fn read(files: &dyn Files, public: &str) -> Self {
        let mut out = Self::default();
        let mut folders = vec![String::new()];
        let mut looked = 0;
        while let Some(folder) = folders.pop() {
            looked += 1;
            if looked > FOLDERS_MAX {
                let what = format!("only the first {FOLDERS_MAX} folders were searched for .htaccess files");
                let fix = "write denies for the rest as [gateway] deny";
                out.findings.push(Finding::new(Severity::Warning, public, what, fix));
                break;
            }
            let path = below(public, &folder);
            let path = path.trim_end_matches('/');
            let htaccess = below(path, ".htaccess");
            if let Some(text) = files.read(&htaccess) {
                File { folder: &folder, path: &htaccess, out: &mut out }.read(&text);
            } else if files.is_file(&htaccess) {
                let mut file = File { folder: &folder, path: &htaccess, out: &mut out };
                file.refuse(0, "the file cannot be read");
            }
            // These are never served, whatever lies in them.
            let served =
                |name: &String| !name.starts_with('.') && !matches!(name.as_str(), "vendor" | "node_modules");
            folders.extend(files.folders(path).into_iter().filter(served).map(|name| below(&folder, &name)));
        }
        out.deny.sort();
        out.deny.dedup();
        out
    }
}

/// The file that is being read.
struct File<'a> {
    folder: &'a str,
    path: &'a str,
    out: &'a mut Htaccess,
}

/// A `<…>` that is open.
#[derive(Debug, Clone, PartialEq)]
enum Block {
    /// `<IfModule>`, `<IfDefine>` and alike; whether its content counts.
    Condition(bool),
    /// `<Files>` or `<FilesMatch>`, with the patterns it stands for, when they are understood.
    Names(Option<Vec<String>>),
    /// `<LimitExcept>`: about methods, not about files.
    Methods,
    /// `<Limit>`, `<RequireAll>` … : anything that changes what an inner line means.
    Other,
}

/// What access lines said, for the folder or for a block of names.
#[derive(Default)]
struct Access {
    deny: bool,
    line: usize,
    partial: Option<String>,
}

impl File<'_> {
    fn read(&mut self, text: &str) {
        let mut blocks: Vec<(Block, Access)> = Vec::new();
        let mut folder = Access::default();
        let mut conditions: Vec<String> = Vec::new();
        for (line, directive) in logical_lines(text) {
            let words = words(&directive);
            let Some(first) = words.first() else { continue };
            let name = first.to_ascii_lowercase();
            if name.starts_with("</") {
                if let Some((block, access)) = blocks.pop() {
                    self.close(&block, &access);
                }
                continue;
            }
            if name.starts_with('<') {
                blocks.push((open_block(&name, &words, blocks.len()), Access::default()));
                continue;
            }
            let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
            let target = blocks.iter_mut().rev().find(|(block, _)| !matches!(block, Block::Condition(_)));
            let access = target.map_or(&mut folder, |(_, access)| access);
            if access_line(&name, &arguments, line, access) {
                continue;
            }
            if blocks.iter().any(|(block, _)| *block == Block::Condition(false)) {
                continue;
            }
            let inside_names = blocks.iter().any(|(block, _)| !matches!(block, Block::Condition(_)));
            self.directive(line, &name, &arguments, &mut conditions, inside_names);
        }
        self.close(&Block::Other, &folder);
    }

    /// Carries out what the access lines of a block said.
    fn close(&mut self, block: &Block, access: &Access) {
        if !access.deny && access.partial.is_none() {
            return;
        }
        match block {
            Block::Names(Some(patterns)) => {
                for pattern in patterns {
                    self.out.deny.push(below(self.folder, &format!("**/{pattern}")));
                }
            }
            Block::Names(None) => self.refuse(access.line, "the names that it denies are not understood"),
            Block::Other => match &access.partial {
                Some(partial) if !access.deny => self.refuse(access.line, partial),
                partial => {
                    self.out.deny.push(below(self.folder, "**"));
                    if partial.is_some() {
                        self.name(
                            access.line,
                            "its exceptions are not honoured: the folder is denied to all",
                            "list what may be served elsewhere",
                        );
                    }
                }
            },
            Block::Methods => self.name(
                access.line,
                "a limit of methods is not applied",
                "refuse the methods in the application",
            ),
            Block::Condition(_) => {}
        }
    }

    /// Refuses the folder because of `line`.
    fn refuse(&mut self, line: usize, why: &str) {
        self.out.deny.push(below(self.folder, "**"));
        let shown = if self.folder.is_empty() { "the whole document root" } else { self.folder };
        let what = format!("{why}, so {shown} is refused");
        let fix = "write the protection as [gateway] deny patterns and remove it here";
        self.out.findings.push(Finding::new(Severity::Error, self.place(line), what, fix));
    }

    fn name(&mut self, line: usize, what: &str, fix: &str) {
        self.out.findings.push(Finding::new(Severity::Warning, self.place(line), what, fix));
    }

    fn place(&self, line: usize) -> String {
        if line == 0 { self.path.to_owned() } else { format!("{}:{line}", self.path) }
    }

    fn directive(
        &mut self,
        line: usize,
        name: &str,
        arguments: &[&str],
        conditions: &mut Vec<String>,
        in_names: bool,
    ) {
        match name {
            "rewriteengine" | "rewritebase" | "rewriteoptions" => {}
            "rewritecond" => conditions.push(arguments.join(" ")),
            "rewriterule" => {
                let conditions = std::mem::take(conditions);
                self.rewrite(line, arguments, &conditions);
            }
            "redirect" | "redirectpermanent" | "redirecttemp" => self.redirect(line, name, arguments),
            "redirectmatch" => {
                self.name(line, "a redirect by pattern is not applied", "make it in the application");
            }
            "header" if in_names => {
                self.name(line, "a header for some files only is not applied", "set it in the application");
            }
            "header" => self.header(line, arguments),
            "authtype" | "authuserfile" | "authgroupfile" | "authname" | "authbasicprovider" => {
                // The line that asks for a login is `Require valid-user`; these prepare it.
            }
            "php_value" | "php_flag" | "php_admin_value" | "php_admin_flag" => {
                let setting = arguments.first().copied().unwrap_or_default();
                let what = format!("{name} {setting} is not applied");
                self.name(line, &what, &format!("write it as [php] ini: {setting} = \"…\""));
            }
            "sethandler" | "addhandler" | "action" | "removehandler" | "forcetype" => {
                self.name(
                    line,
                    "a handler is not applied; only existing .php files and the front controller are run",
                    "remove the line",
                );
            }
            "directoryindex"
                if !arguments.iter().all(|index| matches!(*index, "index.php" | "index.html")) =>
            {
                let list: Vec<String> = arguments.iter().map(|index| format!("\"{index}\"")).collect();
                self.name(
                    line,
                    "its own list of index files is not applied",
                    &format!("[gateway] index = [{}]", list.join(", ")),
                );
            }
            "errordocument" => {
                self.name(line, "its error page is not applied", "answer errors in the application");
            }
            "order"
            | "satisfy"
            | "options"
            | "directoryindex"
            | "fileetag"
            | "adddefaultcharset"
            | "addcharset"
            | "addtype"
            | "addencoding"
            | "addoutputfilterbytype"
            | "setoutputfilter"
            | "expiresactive"
            | "expiresdefault"
            | "expiresbytype"
            | "setenvif"
            | "setenvifnocase"
            | "browsermatch"
            | "browsermatchnocase"
            | "requestheader"
            | "addlanguage"
            | "defaultlanguage"
            | "serversignature"
            | "setenv"
            | "unsetenv"
            | "acceptpathinfo"
            | "deflatecompressionlevel"
            | "cgipassauth"
            | "contentdigest"
            | "filterdeclare"
            | "filterprovider"
            | "filterchain"
            | "limitrequestbody"
            | "indexignore"
            | "indexoptions"
            | "checkspelling"
            | "removetype"
            | "modpagespeed"
            | "sslrequiressl" => {}
            other => self.name(
                line,
                &format!("\"{other}\" is not known and not applied"),
                "remove the line or report it",
            ),
        }
    }

    fn rewrite(&mut self, line: usize, arguments: &[&str], conditions: &[String]) {
        let (Some(pattern), Some(target)) = (arguments.first(), arguments.get(1)) else { return };
        let flags: Vec<String> = arguments
            .get(2)
            .map(|flags| {
                flags
                    .trim_matches(['[', ']'])
                    .split(',')
                    .map(|flag| flag.trim().to_ascii_uppercase())
                    .collect()
            })
            .unwrap_or_default();
        let forbids = flags.iter().any(|flag| {
            flag == "F" || flag == "FORBIDDEN" || flag == "G" || flag == "R=403" || flag == "R=404"
        });
        if forbids {
            return self.forbid(line, pattern, conditions);
        }
        let redirects =
            flags.iter().any(|flag| flag == "R" || flag.starts_with("R=") || flag.starts_with("REDIRECT"));
        if redirects {
            let slash = conditions.iter().any(|condition| condition.contains("(.+)/$"))
                || pattern.contains("index\\.php");
            if !slash {
                self.name(
                    line,
                    "a redirecting rewrite is not applied",
                    "redirect in the application, or with Redirect",
                );
            }
            return;
        }
        let script = target.rsplit('/').next().unwrap_or(target).split('?').next().unwrap_or_default();
        let passes = *target == "-" || script == "index.php";
        if !passes {
            self.name(
                line,
                "a rewrite to something other than the front controller is not applied",
                "route it in the application",
            );
        }
    }

    /// A rewrite that forbids: its pattern becomes a deny, or the folder is refused.
    fn forbid(&mut self, line: usize, pattern: &str, conditions: &[String]) {
        let by_request = conditions.iter().any(|condition| {
            const PARTS: [&str; 7] = [
                "QUERY_STRING",
                "USER_AGENT",
                "REFERER",
                "REQUEST_METHOD",
                "HTTP_HOST",
                "REMOTE_ADDR",
                "THE_REQUEST",
            ];
            PARTS.iter().any(|part| condition.contains(part))
        });
        if by_request {
            return self.name(
                line,
                "a rewrite that forbids some requests is not applied",
                "filter them in the application",
            );
        }
        match path_patterns(pattern).filter(|_| conditions.is_empty()) {
            Some(patterns) => {
                self.out.deny.extend(patterns.iter().map(|pattern| below(self.folder, pattern)));
            }
            None => self.refuse(line, "the rewrite that forbids is not understood"),
        }
    }

    fn redirect(&mut self, line: usize, name: &str, arguments: &[&str]) {
        let by_name = match name {
            "redirectpermanent" => Some(301),
            _ => None,
        };
        let (status, rest) = match arguments.first().map(|word| word.to_ascii_lowercase()).as_deref() {
            Some("permanent") => (301, &arguments[1..]),
            Some("temp") => (302, &arguments[1..]),
            Some("seeother") => (303, &arguments[1..]),
            Some("gone") => (410, &arguments[1..]),
            Some(code) if code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit()) => {
                (code.parse().unwrap_or(302), &arguments[1..])
            }
            _ => (by_name.unwrap_or(302), arguments),
        };
        let to = rest.get(1).copied().unwrap_or_default();
        let sound = matches!(status, 301 | 302 | 303 | 307 | 308 | 410) && (status == 410) == to.is_empty();
        match rest.first() {
            Some(from) if from.starts_with('/') && sound => {
                self.out.redirects.push(Redirect { from: (*from).to_owned(), to: to.to_owned(), status });
                let from = format!("the redirect from {from} is not applied by this version");
                self.name(line, &from, "redirect in the application");
            }
            _ => self.name(
                line,
                "the redirect is not understood and not applied",
                "write it as Redirect 301 /from URL",
            ),
        }
    }

    fn header(&mut self, line: usize, arguments: &[&str]) {
        let arguments = match arguments.first() {
            Some(first) if matches!(first.to_ascii_lowercase().as_str(), "always" | "onsuccess") => {
                &arguments[1..]
            }
            _ => arguments,
        };
        let action = arguments.first().map(|word| word.to_ascii_lowercase()).unwrap_or_default();
        let name = arguments.get(1).map(|name| name.trim_end_matches(':').to_owned());
        let value = match (action.as_str(), arguments) {
            ("unset", [_, _]) => Some(None),
            ("set" | "setifempty" | "add" | "append" | "merge", [_, _, value]) if !value.contains('%') => {
                Some(Some((*value).to_owned()))
            }
            _ => None,
        };
        match (name, value) {
            (Some(name), Some(value)) => {
                let what = format!("the header {name} is not applied by this version");
                self.name(line, &what, "set it in the application");
                self.out.headers.push(Header { folder: self.folder.to_owned(), name, value });
            }
            _ => self.name(
                line,
                "a header with a condition or a variable is not applied",
                "set it in the application",
            ),
        }
    }
}

/// Whether the line is about who may come in; then `access` has noted it.
fn access_line(name: &str, arguments: &[&str], line: usize, access: &mut Access) -> bool {
    let said = arguments.join(" ").to_ascii_lowercase();
    match (name, said.as_str()) {
        ("deny", "from all") | ("require", "all denied") => {
            access.deny = true;
            access.line = line;
        }
        ("allow", "from all") | ("require", "all granted") => {}
        ("order", _) => {}
        ("deny" | "allow" | "require", _) => {
            access.partial.get_or_insert_with(|| format!("\"{name} {said}\" cannot be honoured"));
            access.line = line;
        }
        _ => return false,
    }
    true
}

fn open_block(name: &str, words: &[String], depth: usize) -> Block {
    const DEPTH_MAX: usize = 32;
    let argument = words.get(1).map(|word| word.trim_end_matches('>')).unwrap_or_default();
    match name.trim_end_matches('>') {
        _ if depth >= DEPTH_MAX => Block::Other,
        "<ifmodule" | "<ifdefine" | "<ifversion" => Block::Condition(!argument.starts_with('!')),
        "<files" if argument == "~" => {
            Block::Names(words.get(2).and_then(|word| name_patterns(word.trim_end_matches('>'))))
        }
        "<files" => Block::Names(Some(vec![argument.to_owned()]).filter(|_| !argument.contains(['?', '[']))),
        "<limitexcept" => Block::Methods,
        "<filesmatch" => Block::Names(name_patterns(argument)),
        _ => Block::Other,
    }
}

/// Lines with their numbers, joined where a backslash ends them, without comments.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let (number, mut joined) = open.take().unwrap_or((index + 1, String::new()));
        if let Some(part) = line.strip_suffix('\\') {
            joined.push_str(part);
            open = Some((number, joined));
            continue;
        }
        joined.push_str(line);
        lines.push((number, joined));
    }
    lines.extend(open);
    lines.retain(|(_, line)| !line.trim_start().starts_with('#'));
    lines
}

/// The words of a line; quotes keep blanks together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '"' | '\'' => {
                let end = rest[1..].find(first).map_or(rest.len(), |at| at + 1);
                let after = (end + 1).min(rest.len());
                (rest[1..end].to_owned(), &rest[after..])
            }
            _ => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        words.push(word);
        rest = after.trim_start();
    }
    words
}

/// The file patterns that a regular expression over names stands for, when it is one of the usual shapes:
/// `\.(sql|log)$`, `^\.`, `^(a|b)\.php$`, `~$`.
fn name_patterns(expression: &str) -> Option<Vec<String>> {
    let text = expression.trim_start_matches("(?i)");
    let (anchored, text) = text.strip_prefix('^').map_or((false, text), |rest| (true, rest));
    let (ended, text) = text.strip_suffix('$').map_or((false, text), |rest| (true, rest));
    let expanded = alternatives(text)?;
    let pattern = |name: String| {
        let (front, back) = (if anchored { "" } else { "*" }, if ended { "" } else { "*" });
        format!("{front}{name}{back}").replace("**", "*")
    };
    Some(expanded.into_iter().map(pattern).collect())
}

/// The path patterns of a rewrite: `^(vendor|storage)/`, `^config\.php$`, `(^|/)\.`.
fn path_patterns(expression: &str) -> Option<Vec<String>> {
    if matches!(expression, "^" | ".*" | "^.*$" | "^(.*)$" | "(.*)" | "") {
        return Some(vec!["**".to_owned()]);
    }
    if let Some(rest) = expression.strip_prefix("(^|/)") {
        return Some(
            name_patterns(&format!("^{rest}"))?.into_iter().map(|name| format!("**/{name}")).collect(),
        );
    }
    let text = expression.strip_prefix('^')?;
    let (ended, text) = text.strip_suffix('$').map_or((false, text), |rest| (true, rest));
    let text = text.trim_end_matches("(.*)").trim_end_matches(".*");
    let pattern = |path: String| match path.strip_suffix('/') {
        Some(folder) => format!("{folder}/**"),
        None if ended => path,
        None => format!("{path}*"),
    };
    Some(
        alternatives(text)?
            .into_iter()
            .flat_map(|path| match ended || path.ends_with('/') {
                true => vec![pattern(path)],
                // `^storage` denies the name, all that begin so, and all below them.
                false => vec![format!("{path}*"), format!("{path}*/**")],
            })
            .collect(),
    )
}

/// Expands one group of alternatives in otherwise literal text; `None` for any other expression.
fn alternatives(text: &str) -> Option<Vec<String>> {
    let Some(open) = text.find('(') else { return Some(vec![literal(text)?]) };
    let close = open + text[open..].find(')')?;
    let inner = text[open + 1..close].trim_start_matches("?:");
    let (before, after) = (literal(&text[..open])?, literal(&text[close + 1..])?);
    inner.split('|').map(|choice| Some(format!("{before}{}{after}", literal(choice)?))).collect()
}

/// The text that an expression without operators matches; `.*` and `.+` become `*`.
fn literal(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().filter(|next| !next.is_ascii_alphanumeric())?),
            '.' => match chars.next() {
                Some('*' | '+') => out.push('*'),
                _ => return None,
            },
            '*' | '+' | '?' | '[' | ']' | '{' | '}' | '(' | ')' | '|' | '^' | '$' => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::MemoryFiles;

    fn read(text: &str) -> Htaccess {
        Htaccess::read(
            &MemoryFiles::new([("public/private/.htaccess", text), ("public/index.php", "")]),
            "public",
        )
    }

    #[test]
    fn denies_become_patterns() {
        for (text, expected) in [
            ("Require all denied", &["private/**"][..]),
            ("Order deny,allow\nDeny from all", &["private/**"]),
            ("<IfModule !mod_authz_core.c>\nDeny from all\n</IfModule>", &["private/**"]),
            ("<Files \"*.sql\">\nRequire all denied\n</Files>", &["private/**/*.sql"]),
            (
                "<FilesMatch \"\\.(sql|log)$\">\nDeny from all\n</FilesMatch>",
                &["private/**/*.log", "private/**/*.sql"],
            ),
            ("<FilesMatch \"^\\.\">\nDeny from all\n</FilesMatch>", &["private/**/.*"]),
            (
                "RewriteEngine On\nRewriteRule ^(vendor|storage)/ - [F,L]",
                &["private/storage/**", "private/vendor/**"],
            ),
            ("RewriteRule ^config\\.php$ - [F]", &["private/config.php"]),
            ("RewriteRule (^|/)\\. - [F]", &["private/**/.*"]),
            ("Allow from all", &[]),
            ("Require all granted", &[]),
            ("# Deny from all", &[]),
        ] {
            let out = read(text);
            assert_eq!(out.deny, expected, "{text}");
            assert_eq!(out.findings, [], "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (text, why) in [
            (
                "AuthType Basic\nRequire valid-user",
                "\"require valid-user\" cannot be honoured, so private is refused",
            ),
            ("Require ip 10.0.0.0/8", "\"require ip 10.0.0.0/8\" cannot be honoured, so private is refused"),
            (
                "<FilesMatch \"^[a-z]+$\">\nDeny from all\n</FilesMatch>",
                "the names that it denies are not understood, so private is refused",
            ),
            (
                "RewriteRule ^[a-z]+$ - [F]",
                "the rewrite that forbids is not understood, so private is refused",
            ),
        ] {
            let out = read(text);
            assert_eq!(out.deny, ["private/**"], "{text}");
            assert_eq!(
                (out.findings[0].severity, out.findings[0].what.as_str()),
                (Severity::Error, why),
                "{text}"
            );
        }
        let out = read("Order deny,allow\nDeny from all\nAllow from 127.0.0.1");
        assert_eq!(
            (out.deny.as_slice(), out.findings[0].severity),
            (&["private/**".to_owned()][..], Severity::Warning)
        );
    }

    #[test]
    fn the_usual_files_of_frameworks_say_nothing_new() {
        let laravel = "<IfModule mod_rewrite.c>\n    <IfModule mod_negotiation.c>\n        Options -MultiViews -Indexes\n    </IfModule>\n\n    RewriteEngine On\n\n    # Handle Authorization Header\n    RewriteCond %{HTTP:Authorization} .\n    RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]\n\n    # Redirect Trailing Slashes...\n    RewriteCond %{REQUEST_FILENAME} !-d\n    RewriteCond %{REQUEST_URI} (.+)/$\n    RewriteRule ^ %1 [L,R=301]\n\n    RewriteCond %{REQUEST_FILENAME} !-d\n    RewriteCond %{REQUEST_FILENAME} !-f\n    RewriteRule ^ index.php [L]\n</IfModule>\n";
        let wordpress = "# BEGIN WordPress\n<IfModule mod_rewrite.c>\nRewriteEngine On\nRewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]\nRewriteBase /\nRewriteRule ^index\\.php$ - [L]\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteCond %{REQUEST_FILENAME} !-d\nRewriteRule . /index.php [L]\n</IfModule>\n# END WordPress\n";
        let symfony = "DirectoryIndex index.php\n<IfModule mod_rewrite.c>\n    RewriteEngine On\n    RewriteCond %{REQUEST_URI}::$0 ^(/.+)/(.*)::\\2$\n    RewriteRule .* - [E=BASE:%1]\n    RewriteCond %{HTTP:Authorization} .+\n    RewriteRule ^ - [E=HTTP_AUTHORIZATION:%0]\n    RewriteCond %{ENV:REDIRECT_STATUS} =\"\"\n    RewriteRule ^index\\.php(?:/(.*)|$) %{ENV:BASE}/$1 [R=301,L]\n    RewriteCond %{REQUEST_FILENAME} !-f\n    RewriteRule ^ %{ENV:BASE}/index.php [L]\n</IfModule>\n<IfModule !mod_rewrite.c>\n    <IfModule mod_alias.c>\n        RedirectMatch 307 ^/$ /index.php/\n    </IfModule>\n</IfModule>\n";
        for text in [laravel, wordpress, symfony] {
            assert_eq!(read(text), Htaccess::default(), "{text}");
        }
    }

    #[test]
    fn redirects_and_headers_are_rows() {
        let out = read(
            "Redirect 301 /old https://example.org/new\nRedirect gone /dead\nHeader always set X-Frame-Options \"DENY\"\nHeader unset Server\nphp_value memory_limit 1G\nFrobnicate on\n",
        );
        assert_eq!(
            out.redirects,
            [
                Redirect { from: "/old".into(), to: "https://example.org/new".into(), status: 301 },
                Redirect { from: "/dead".into(), to: String::new(), status: 410 },
            ]
        );
        assert_eq!(
            out.headers,
            [
                Header {
                    folder: "private".into(),
                    name: "X-Frame-Options".into(),
                    value: Some("DENY".into())
                },
                Header { folder: "private".into(), name: "Server".into(), value: None },
            ]
        );
        let lines: Vec<String> = out.findings.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "warning: public/private/.htaccess:1: the redirect from /old is not applied by this version\n  fix: redirect in the application",
                "warning: public/private/.htaccess:2: the redirect from /dead is not applied by this version\n  fix: redirect in the application",
                "warning: public/private/.htaccess:3: the header X-Frame-Options is not applied by this version\n  fix: set it in the application",
                "warning: public/private/.htaccess:4: the header Server is not applied by this version\n  fix: set it in the application",
                "warning: public/private/.htaccess:5: php_value memory_limit is not applied\n  fix: write it as [php] ini: memory_limit = \"…\"",
                "warning: public/private/.htaccess:6: \"frobnicate\" is not known and not applied\n  fix: remove the line or report it",
            ]
        );
    }
}
