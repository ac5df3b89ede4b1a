//! `.htaccess` files: what of them is honoured, what is only named, and which folders are refused.
//!
//! Applications protect folders with them, so silence is dangerous: a folder whose deny is not understood is refused
//! whole. Denies become patterns for the gateway, redirects and headers its [`Rules`]. A rewrite to a front controller
//! says what the gateway does anyway. What is none of these, or has conditions beyond the simple ones, is named with
//! its line. `<IfModule>` is taken as present, `<IfModule !…>` as absent, except that a deny counts in both.

mod answers;
mod rewrites;
mod text;

use regie_core::Rules;
use regie_core::rules::Then;

use self::rewrites::Rewriting;
use self::text::{logical_lines, name_patterns, words};
use crate::application::below;
use crate::check::{Finding, Severity};
use crate::files::Files;

/// At most so many folders of a document root are looked into.
pub const FOLDERS_MAX: usize = 4096;

/// At most so many redirects are taken from all files together: each costs every request a comparison.
pub const REDIRECTS_MAX: usize = 1024;

/// What the `.htaccess` files of a document root ask for. Paths are relative to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Htaccess {
    /// Patterns that are never served, as `[gateway] deny` has them.
    pub deny: Vec<String>,
    /// Redirects and headers of answers.
    pub rules: Rules,
    /// Where the document root's file sends all that is no file to its `index.php`: the place of that line.
    pub front_controller: Option<String>,
    /// What a person should know.
    pub findings: Vec<Finding>,
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
        if out.rules.rewrites.is_empty() {
            out.rules.rewriting.clear();
        }
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

/// What the lines of a block are about.
#[derive(Debug, Clone, Copy)]
enum Scope<'a> {
    /// The whole folder.
    Folder,
    /// Files with such names.
    Names(&'a [String]),
    /// Something else.
    Unknown,
}

impl<'a> Scope<'a> {
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
struct Access {
    deny: bool,
    line: usize,
    partial: Option<String>,
}

impl File<'_> {
    fn read(&mut self, text: &str) {
        let mut blocks: Vec<(Block, Access)> = Vec::new();
        let mut folder = Access::default();
        let mut rewriting = Rewriting::default();
        let before = (self.out.rules.rewrites.len(), self.out.rules.redirects.len());
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
            let around: Vec<&Block> = blocks.iter().map(|(block, _)| block).collect();
            self.directive(line, &name, &arguments, &mut rewriting, Scope::of(&around));
        }
        self.close(&Block::Other, &folder);
        self.settle_rules(&rewriting, before);
    }

    /// The rules of this file find their place among those of the others, which lie in folders above it or beside it.
    fn settle_rules(&mut self, rewriting: &Rewriting, (rewrites, redirects): (usize, usize)) {
        let rules = &mut self.out.rules;
        // Nothing comes behind the last ones that they would stop.
        let last =
            rules.rewrites.iter().rposition(|rewrite| rewrite.then != Then::Stop).map_or(0, |at| at + 1);
        rules.rewrites.truncate(last.max(rewrites));
        if rewriting.on {
            rules.rewriting.push(self.folder.to_owned());
        }
        let own = rules.redirects.split_off(redirects);
        rules.redirects.splice(0..0, own);
        if rules.redirects.len() + rules.rewrites.len() > REDIRECTS_MAX {
            rules.rewrites.truncate(rewrites);
            rules.redirects.drain(..rules.redirects.len() - redirects);
            let what =
                format!("its redirects are not applied: all files together have more than {REDIRECTS_MAX}");
            self.name(0, &what, "redirect in the application");
        }
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
        rewriting: &mut Rewriting,
        scope: Scope<'_>,
    ) {
        match name {
            "rewriteengine" => rewriting.on = arguments.iter().any(|word| word.eq_ignore_ascii_case("on")),
            "rewritebase" => rewriting.base = arguments.first().map(|&base| base.to_owned()),
            "rewriteoptions" => {}
            "rewritecond" => {
                rewriting.conditions.push(arguments.iter().map(|&word| word.to_owned()).collect());
            }
            "rewriterule" => self.rewrite(line, arguments, rewriting),
            "redirect" | "redirectpermanent" | "redirecttemp" | "redirectmatch"
                if !matches!(scope, Scope::Folder) =>
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
            "header" => match scope {
                Scope::Folder => self.header(line, arguments, None),
                Scope::Names(names) => self.header(line, arguments, Some(names)),
                Scope::Unknown => {
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

#[cfg(test)]
mod tests;
