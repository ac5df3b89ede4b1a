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
mode = \"rewound\"
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
fn what_single_values_cannot_say_is_checked_too() {
    for (toml, expected) in [
        (
            "[gateway]\nlisten = [\"8000\", \"127.0.0.1:8000\"]",
            "regie.toml:2:19: the same address is listened on already; remove it",
        ),
        (
            "[gateway]\nlisten = [\"127.0.0.1:80\"]\nstatus_listen = [\"127.0.0.1:81\", \"127.0.0.1:80\"]",
            "regie.toml:3:34: the same address is listened on already; give it an address of its own",
        ),
        (
            "[gateway]\nhosts = [\"a.b\", \"http://a\"]",
            "regie.toml:2:17: \"http://a\" is no host name; write the name alone, as in \"shop.example.org\" or \"*.example.org\"",
        ),
        (
            "[php.web]\nlimit_extensions = [\"php\"]",
            "regie.toml:2:21: \"php\" is no extension of a file; write it with its dot, as in \".php\"",
        ),
        (
            "[app]\npublic = \"../x\"",
            "regie.toml:2:10: the document root lies outside of the application's folder; write it relative to the folder, and move the folder with root",
        ),
        (
            "[php.\"a b\"]\nworkers = 1",
            "regie.toml:1:6: \"a b\" is no name: up to 48 letters, digits, - and _",
        ),
        (
            "[php.web]\nworkers = \"16-2\"",
            "regie.toml:2:11: expects two numbers from 1 to 1024, the smaller first, such as \"2-16\"; found \"16-2\"",
        ),
        ("[store]\ndb.x = {}", "regie.toml:2:4: \"x\" is no number of a database; the store has 0 to 15"),
        (
            "[store]\nurl = \"redis+sentinel://a:26379,b:26379\"",
            "regie.toml:2:7: the URL of sentinels does not say which master; name it as \"redis+sentinel://:${REDIS_PASSWORD}@10.0.0.5:26379,10.0.0.6:26379/mymaster\"",
        ),
        (
            "[store]\nlisten = \"0.0.0.0:6379\"\npassword = \"\"",
            "regie.toml:3:12: without a password the store listens on loopback only; leave the password out and one is made, or listen on 127.0.0.1",
        ),
        (
            "[store]\nlisten = \"unix:/run/store.sock\"",
            "regie.toml:2:10: the store listens on a Unix socket of its own already; write an address and port; its own Unix socket is always there",
        ),
        (
            "[workers]\nhorizon = \"replaced\"",
            "regie.toml:2:11: expects one of beside, replace, found \"replaced\"; did you mean \"replace\"?",
        ),
        (
            "[workers]\nmax = 3",
            "regie.toml:2:1: [workers] has no key \"max\" of its own; name it: [workers.NAME] with the key \"max\" below",
        ),
        ("[workers.a]\njitter = 101", "regie.toml:2:10: expects percent, from 0 to 100"),
        (
            "[workers.a]\nlimits = { 'App\\Mail' = { concurrency = 0 } }",
            "regie.toml:2:41: expects at least 1; to keep its jobs waiting, pause its queue",
        ),
        (
            "[workers.a]\nlimits = { 'App\\Mail' = { rate = \"100\" } }",
            "regie.toml:2:34: expects a number in a time such as \"100/1m\": there is no \"/\"",
        ),
        (
            "[store]\nprotected_keys = [\"@lock\", \"orders:*\"]",
            "regie.toml:2:18: \"@lock\": expects one of @default, @locks, @sessions and @streams, or a pattern of names; did you mean \"@locks\"?",
        ),
        ("[store]\nprotected_keys = [\"a b\"]", "regie.toml:2:18: \"a b\": expects a name without spaces"),
        ("[program.a]\ncommand = []", "regie.toml:2:11: the command is empty"),
        ("[php]\nini = { a = \"b\\nc\" }", "regie.toml:2:13: an ini value is a single line"),
        ("[php.web]\nenv = { A = \"b\\u0000\" }", "regie.toml:2:13: contains a NUL character"),
        (
            "gateway = 1",
            "regie.toml:1:1: \"gateway\" expects a section, found a number; write [gateway] on a line of its own",
        ),
        ("[app]\nenv = \"production\"\nenv = \"development\"", "regie.toml:3:1: duplicate key"),
    ] {
        let report = report(&[("regie.toml", toml)]);
        assert_eq!(report.lines().next(), Some(expected), "{toml}");
        assert_eq!(report.lines().count(), 2, "{report}");
    }
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
