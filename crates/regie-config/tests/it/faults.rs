//! Whole reports, compared as a person reads them.

use regie_config::{Options, shell};

use crate::folder::{Folder, variables};

fn report(files: &[(&str, &str)]) -> String {
    Folder::new(files).load(&[]).expect_err("the configuration has faults").to_string()
}

#[test]
fn every_fault_of_every_file_comes_at_once() {
    let toml = "\
worker = 4
[gatway]
listen = []
[gateway]
listen = [\"127.0.0.1:80000\", \"*:80\", 8000]
body_limit = \"20 parsecs\"
timeouts = 4
compression = \"gzip\"
access_log = \"combind\"
[php]
version = \"8\"
inii = { a = 1 }
[php.web]
mode = \"rewind\"
worker = 4
workers = \"many\"
max_requests = -1
request_timeout = true
status_path = \"status\"
env = { A = \"${NOT_SET}\", B = \"${file:relative}\", C = \"${unclosed\" }
[php.jobs]
url = \"10.0.0.3:9000\"
workers = 4
[store]
url = \"redis://10.0.0.5\"
maxmemory = \"1gb\"
[workers.slow]
queues = [\"a\"]
min = 5
max = 2
[program.vite]
comand = \"npm run dev\"
depends_on = [\"vite\", \"vit\"]
[program]
command = \"x\"
";
    let expected = include_str!("faults.txt");
    let got = report(&[("regie.toml", toml), ("regie.local.toml", "[gateway]\nlisen = []\n")]);
    assert_eq!(got, expected);
}

#[test]
fn a_broken_line_does_not_hide_the_rest() {
    let toml = "[gateway]\nbody_limit = \n[php.web]\nworker = 4\n[app]\nenv = \"production\nuser = \"x\"\n";
    let expected = "\
regie.toml:2:14: string values must be quoted, expected literal string
regie.toml:4:1: unknown key \"worker\" in [php.web]; did you mean \"workers\"?
regie.toml:6:18: invalid basic string, expected `\"`
3 faults in the configuration; nothing was started";
    assert_eq!(report(&[("regie.toml", toml)]), expected);
}

#[test]
fn overlays_are_read_with_the_same_rules() {
    let files = [
        ("regie.toml", "[app]\nenv = \"production\"\n"),
        ("regie.production.toml", "[app]\nenv = \"development\"\nroot = \"x\"\n[gateway]\nlisten = 80\n"),
    ];
    assert_eq!(
        report(&files),
        "regie.production.toml:2:1: \"env\" decides which overlay is read, so it cannot stand in one; move it to regie.toml\n\
         regie.production.toml:3:1: \"root\" decides which overlay is read, so it cannot stand in one; move it to regie.toml\n\
         regie.production.toml:5:10: expects a list, found a number\n\
         3 faults in the configuration; nothing was started"
    );
}

#[test]
fn a_secret_is_not_shown_by_the_fault_about_it() {
    let secret = Folder::new(&[("secret", "hunter2")]);
    let file = format!("${{file:{}}}", secret.path().join("secret").display());
    let toml = format!(
        "[app]\nenv = \"{file}\"\npublic = \"/srv/x\"\n[hosts]\ndb = \"{file} x\"\n[php]\nversion = \"{file}\"\n\
         [php.web]\nworkers = \"{file}\"\nrequest_timeout = \"{file}\"\nurl = \"{file}\"\n"
    );
    let report = report(&[("regie.toml", &toml)]);
    assert!(!report.contains("hunter2"), "{report}");
    assert!(
        report.contains("7 faults")
            && report.contains("regie.toml:2:7: expects one of development, production, found \"***\""),
        "{report}"
    );
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let options = Options { config: Some("other.toml".to_owned()), ..Options::default() };
    let faults = shell::load(Folder::new(&[]).path(), &options, &variables(&[])).unwrap_err();
    assert_eq!(
        faults.to_string(),
        "other.toml: the file does not exist; correct --config, or leave it out\n\
         1 fault in the configuration; nothing was started"
    );
}
