//! `.htaccess` files: what of them is honoured, what is only named, and which folders are refused.
//!
//! Applications protect folders with them, so silence is dangerous: a folder whose protection is not understood is
//! refused whole. Denies, rewrites, redirects and headers become the gateway's [`Rules`]. What a framework's own file
//! says of its front controller says what the gateway does anyway, and costs its requests nothing. What is none of
//! these is named with its line. `<IfModule>` is taken as present, `<IfModule !…>` as absent, except that a deny counts
//! in both.

mod answers;
mod rewrites;
mod text;

use std::collections::BTreeMap;

use regie_core::Rules;
use regie_core::rules::{Access, AccessRule, Pattern, Scope};

use self::rewrites::Read;
use self::text::{logical_lines, words};
use crate::application::below;
use crate::check::{Finding, Severity};
use crate::files::Files;

/// At most so many folders of a document root are looked into.
pub const FOLDERS_MAX: usize = 4096;

/// At most so many redirects are taken from all files together: each costs every request a comparison.
pub const REDIRECTS_MAX: usize = 4096;

/// What only the server may tell a script.
const SERVERS_OWN: [&str; 16] = [
    "AUTH_TYPE",
    "CONTENT_LENGTH",
    "CONTENT_TYPE",
    "DOCUMENT_ROOT",
    "GATEWAY_INTERFACE",
    "HTTPS",
    "PATH_INFO",
    "PATH_TRANSLATED",
    "PHP_ADMIN_VALUE",
    "PHP_VALUE",
    "QUERY_STRING",
    "REMOTE_ADDR",
    "REQUEST_METHOD",
    "REQUEST_URI",
    "SCRIPT_FILENAME",
    "SCRIPT_NAME",
];

/// What the `.htaccess` files of a document root ask for. Paths are relative to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Htaccess {
    /// Folders that are refused, as `[gateway] deny` has them.
    pub deny: Vec<String>,
    /// All else that is applied.
    pub rules: Rules,
    /// Where the document root's file sends all that is no file to its `index.php`: the place of that line.
    pub front_controller: Option<String>,
    /// What a person should know.
    pub findings: Vec<Finding>,
}

impl Htaccess {
    /// Reads every `.htaccess` of the document root `public`. With a front controller that is known, what the file of
    /// the document root says of it is not said again.
    #[must_use]
    pub fn read(files: &dyn Files, public: &str, has_front_controller: bool) -> Self {
        let mut out = Self::default();
        let mut access = Vec::new();
        let mut rewriting = BTreeMap::new();
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
            let mut file = File {
                folder: &folder,
                path: &htaccess,
                knows_front: has_front_controller && folder.is_empty(),
                out: &mut out,
                access: &mut access,
                rewriting: &mut rewriting,
            };
            if let Some(text) = files.read(&htaccess) {
                file.read(&text);
            } else if files.is_file(&htaccess) {
                file.refuse(0, "the file cannot be read");
            }
            // These are never served, whatever lies in them.
            let served =
                |name: &String| !name.starts_with('.') && !matches!(name.as_str(), "vendor" | "node_modules");
            folders.extend(files.folders(path).into_iter().filter(served).map(|name| below(&folder, &name)));
        }
        out.deny.sort();
        out.deny.dedup();
        out.rules.access = Access::new(access);
        // Folders where rewriting is switched off matter below those where it is on.
        if out.rules.rewriting.iter().all(|folder| folder.rewrites.is_empty()) {
            out.rules.rewriting.clear();
        }
        out
    }
}

/// The file that is being read.
struct File<'a> {
    folder: &'a str,
    path: &'a str,
    /// Whether the front controller of this folder is known.
    knows_front: bool,
    out: &'a mut Htaccess,
    access: &'a mut Vec<AccessRule>,
    /// Which folders have rewriting switched on or off.
    rewriting: &'a mut BTreeMap<String, bool>,
}

/// A `<…>` that is open.
#[derive(Debug, Clone, PartialEq)]
enum Block {
    /// `<IfModule>`, `<IfDefine>` and alike; whether its content counts.
    Condition(bool),
    /// `<Files>` or `<FilesMatch>`, with its pattern, when that is understood.
    Names(Option<Pattern>),
    /// `<LimitExcept>`: about methods, not about files.
    Methods,
    /// `<Limit>`, `<RequireAll>` … : anything that changes what an inner line means.
    Other,
}

/// What the lines of a block are about.
#[derive(Debug, Clone, Copy)]
enum About<'a> {
    /// The whole folder.
    Folder,
    /// Files with such names.
    Names(&'a Pattern),
    /// Something else.
    Unknown,
}

impl<'a> About<'a> {
    fn of(blocks: &[&'a Block]) -> Self {
        let mut narrowing = blocks.iter().filter(|block| !matches!(block, Block::Condition(_)));
        match (narrowing.next(), narrowing.next()) {
            (None, _) => Self::Folder,
            (Some(Block::Names(Some(names))), None) => Self::Names(names),
            _ => Self::Unknown,
        }
    }
}

/// What access lines said, for the folder or for a block of names.
#[derive(Default)]
struct Said {
    denies: bool,
    allows: bool,
    /// `Order allow,deny`: who is not let in stays out.
    allow_first: bool,
    line: usize,
    partial: Option<String>,
}

impl File<'_> {
    fn read(&mut self, text: &str) {
        let mut blocks: Vec<(Block, Said)> = Vec::new();
        let mut folder = Said::default();
        let mut rewrites = Read::default();
        let before = self.out.rules.redirects.len();
        for (line, directive) in logical_lines(text) {
            let words = words(&directive);
            let Some(first) = words.first() else { continue };
            let name = first.to_ascii_lowercase();
            if name.starts_with("</") {
                if let Some((block, said)) = blocks.pop() {
                    self.close(&block, &said);
                }
                continue;
            }
            if name.starts_with('<') {
                blocks.push((open_block(&name, &words, blocks.len()), Said::default()));
                continue;
            }
            let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
            let target = blocks.iter_mut().rev().find(|(block, _)| !matches!(block, Block::Condition(_)));
            let said = target.map_or(&mut folder, |(_, said)| said);
            if access_line(&name, &arguments, line, said) {
                continue;
            }
            if blocks.iter().any(|(block, _)| *block == Block::Condition(false)) {
                continue;
            }
            let around: Vec<&Block> = blocks.iter().map(|(block, _)| block).collect();
            self.directive(line, &name, &arguments, &mut rewrites, About::of(&around));
        }
        self.close(&Block::Other, &folder);
        self.settle_rewrites(rewrites);
        self.settle_redirects(before);
    }

    /// The redirects of this file come before those of the folders above it.
    fn settle_redirects(&mut self, before: usize) {
        let rules = &mut self.out.rules;
        let own = rules.redirects.split_off(before);
        rules.redirects.splice(0..0, own);
        if rules.redirects.len() > REDIRECTS_MAX {
            rules.redirects.drain(..rules.redirects.len() - before);
            let what =
                format!("its redirects are not applied: all files together have more than {REDIRECTS_MAX}");
            self.name(0, &what, "redirect in the application");
        }
    }

    /// Carries out what the access lines of a block said.
    fn close(&mut self, block: &Block, said: &Said) {
        let whole = |denies| AccessRule { on: Scope::folder(self.folder.to_owned()), denies };
        match block {
            Block::Condition(_) => {}
            _ if !said.is_about_access() => {}
            Block::Methods => self.name(
                said.line,
                "a limit of methods is not applied",
                "refuse the methods in the application",
            ),
            Block::Names(None) if said.verdict() == Some(false) => {}
            Block::Names(None) => self.refuse(said.line, "the names that it denies are not understood"),
            Block::Names(Some(names)) => match &said.partial {
                Some(partial) if !said.denies => self.refuse(said.line, partial),
                _ => {
                    let on = Scope { folder: self.folder.to_owned(), names: Some(names.clone()) };
                    self.access.extend(said.verdict().map(|denies| AccessRule { on, denies }));
                }
            },
            Block::Other => match &said.partial {
                Some(partial) if !said.denies => self.refuse(said.line, partial),
                partial => {
                    self.access.extend(said.verdict().map(whole));
                    if partial.is_some() {
                        self.name(
                            said.line,
                            "its exceptions are not honoured: the folder is denied to all",
                            "list what may be served elsewhere",
                        );
                    }
                }
            },
        }
    }

    /// `SetEnv NAME value`
    fn variable(&mut self, line: usize, arguments: &[&str], about: About<'_>) {
        let name = arguments.first().copied().unwrap_or_default();
        if is_servers_own(name) || name.is_empty() || !matches!(about, About::Folder) {
            let what =
                format!("the variable {name} is not set: it is the server's own, or for some files only");
            return self.name(line, &what, "set it in the application");
        }
        let value = arguments.get(1).copied().unwrap_or_default();
        self.out.rules.variables.push((self.folder.to_owned(), name.to_owned(), value.to_owned()));
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

    fn note(&mut self, line: usize, what: &str, fix: &str) {
        self.out.findings.push(Finding::new(Severity::Note, self.place(line), what, fix));
    }

    fn place(&self, line: usize) -> String {
        if line == 0 { self.path.to_owned() } else { format!("{}:{line}", self.path) }
    }

    fn directive(
        &mut self,
        line: usize,
        name: &str,
        arguments: &[&str],
        rewrites: &mut Read,
        about: About<'_>,
    ) {
        match name {
            "rewriteengine" => {
                rewrites.on = arguments.first().map(|word| word.eq_ignore_ascii_case("on"));
            }
            "rewritebase" => rewrites.base = arguments.first().map(|&base| base.to_owned()),
            "rewriteoptions" => {}
            "rewritecond" => {
                rewrites.conditions.push(arguments.iter().map(|&word| word.to_owned()).collect());
            }
            "rewriterule" => self.rewrite(line, arguments, rewrites),
            "setenv" => self.variable(line, arguments, about),
            "redirect" | "redirectpermanent" | "redirecttemp" | "redirectmatch"
                if !matches!(about, About::Folder) =>
            {
                self.name(
                    line,
                    "a redirect for some files or requests only is not applied",
                    "redirect in the application",
                );
            }
            "redirect" | "redirectpermanent" | "redirecttemp" | "redirectmatch" => {
                let redirect = self.redirect(line, name, arguments);
                self.out.rules.redirects.extend(redirect);
            }
            "header" => match about {
                About::Folder => self.header(line, arguments, None),
                About::Names(names) => self.header(line, arguments, Some(names)),
                About::Unknown => {
                    self.name(
                        line,
                        "a header for some files or requests only is not applied",
                        "set it in the application",
                    );
                }
            },
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
}

/// Whether only the server may tell a script this variable.
fn is_servers_own(name: &str) -> bool {
    SERVERS_OWN.contains(&name) || name.starts_with("SERVER_") || name.starts_with("REGIE_")
}

impl Said {
    const fn is_about_access(&self) -> bool {
        self.denies || self.allows || self.allow_first || self.partial.is_some()
    }

    /// Whether all are denied, or all let in; none when nothing was said of all.
    const fn verdict(&self) -> Option<bool> {
        match (self.denies, self.allows) {
            // Who is both denied and let in is denied where the denies come last.
            (true, true) => Some(self.allow_first),
            (true, false) => Some(true),
            (false, true) => Some(false),
            (false, false) if self.allow_first && self.partial.is_none() => Some(true),
            (false, false) => None,
        }
    }
}

/// Whether the line is about who may come in; then `access` has noted it.
fn access_line(name: &str, arguments: &[&str], line: usize, said: &mut Said) -> bool {
    let words = arguments.join(" ").to_ascii_lowercase();
    match (name, words.as_str()) {
        ("deny", "from all") | ("require", "all denied") => said.denies = true,
        ("allow", "from all") | ("require", "all granted") => said.allows = true,
        ("deny" | "allow", "from none") => {}
        ("order", order) => said.allow_first = order.replace(' ', "") == "allow,deny",
        ("deny" | "allow" | "require", _) => {
            said.partial.get_or_insert_with(|| format!("\"{name} {words}\" cannot be honoured"));
        }
        _ => return false,
    }
    said.line = line;
    true
}

fn open_block(name: &str, words: &[String], depth: usize) -> Block {
    const DEPTH_MAX: usize = 32;
    let argument = words.get(1).map(|word| word.trim_end_matches('>')).unwrap_or_default();
    match name.trim_end_matches('>') {
        _ if depth >= DEPTH_MAX => Block::Other,
        "<ifmodule" | "<ifdefine" | "<ifversion" => Block::Condition(!argument.starts_with('!')),
        "<files" if argument == "~" => {
            Block::Names(words.get(2).and_then(|word| Pattern::new(word.trim_end_matches('>'), false)))
        }
        "<files" => Block::Names(Pattern::glob(argument)),
        "<limitexcept" => Block::Methods,
        "<filesmatch" => Block::Names(Pattern::new(argument, false)),
        _ => Block::Other,
    }
}

#[cfg(test)]
mod tests;
