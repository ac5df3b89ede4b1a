use regie_core::rules::{Asked, HeaderAction, HeaderRule, Listed};

use super::*;
use crate::files::MemoryFiles;

fn read(text: &str) -> Htaccess {
    Htaccess::read(
        &MemoryFiles::new([("public/private/.htaccess", text), ("public/index.php", "")]),
        "public",
        false,
    )
}

fn asked(address: &str) -> Asked<'_> {
    Asked { https: Some(false), ..Asked::get(address) }
}

/// A document root with these files; the client takes packed answers.
fn site<'a>(files: &'a [&'a str]) -> Listed<'a> {
    Listed { files, headers: &[("accept-encoding", "gzip, br")] }
}

/// What becomes of a request: `301 /there`, `/there?query`, `-` when it goes through as it came; `denied` where it
/// leads to a file that nobody may see.
fn led(rules: &Rules, files: &[&str], address: &str) -> String {
    let outcome = rules.apply(&asked(address), &site(files)).expect("easy patterns");
    let path = outcome.rewritten.as_ref().map_or(asked(address).path, |to| &to.path);
    match (&outcome.answer, &outcome.rewritten) {
        (Some(answer), _) => format!("{} {}", answer.status, answer.location.as_deref().unwrap_or_default()),
        _ if files.contains(&path) && rules.access.denies(path) => "denied".into(),
        (None, Some(to)) => format!("{}?{}", to.path, to.query).trim_end_matches('?').to_owned(),
        (None, None) => "-".into(),
    }
}

#[test]
fn denies_are_about_folders_or_names() {
    for (text, denied, open) in [
        ("Require all denied", &["/private/a", "/private/b/c.css"][..], &["/privately", "/a"][..]),
        ("Order deny,allow\nDeny from all", &["/private/a"], &["/a"]),
        ("Order allow,deny", &["/private/a"], &["/a"]),
        ("Order allow,deny\nAllow from all", &[], &["/private/a"]),
        ("<IfModule !mod_authz_core.c>\nDeny from all\n</IfModule>", &["/private/a"], &[]),
        (
            "<Files \"*.sql\">\nRequire all denied\n</Files>",
            &["/private/x/a.sql"],
            &["/private/a.txt", "/a.sql"],
        ),
        (
            "<FilesMatch \"\\.(sql|log)$\">\nDeny from all\n</FilesMatch>",
            &["/private/a.log", "/private/a.sql"],
            &["/private/a.txt"],
        ),
        (
            "<Files ~ \"^\\.\">\nDeny from all\n</Files>\n<FilesMatch \"^[a-z]+$\">\nDeny from all\n</FilesMatch>",
            &["/private/.x", "/private/readme"],
            &["/private/x.txt"],
        ),
        (
            "Deny from all\n<FilesMatch \"\\.(css|js)$\">\nAllow from all\n</FilesMatch>",
            &["/private/a.php"],
            &["/private/a.css", "/private/deep/a.js"],
        ),
        ("Allow from all", &[], &["/private/a"]),
        ("# Deny from all", &[], &["/private/a"]),
    ] {
        let out = read(text);
        assert_eq!((&out.findings, &out.deny), (&vec![], &vec![]), "{text}");
        for path in denied {
            assert!(out.rules.access.denies(path), "{path}: {text}");
        }
        for path in open {
            assert!(!out.rules.access.denies(path), "{path}: {text}");
        }
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
            "<FilesMatch \"(\">\nDeny from all\n</FilesMatch>",
            "the names that it denies are not understood, so private is refused",
        ),
        ("RewriteRule ( - [F]", "the pattern of a rewrite is not understood, so private is refused"),
        ("RewriteRule ( index.php [L]", "the pattern of a rewrite is not understood, so private is refused"),
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
    assert!(out.rules.access.denies("/private/a") && out.findings[0].severity == Severity::Warning);
}

#[test]
fn the_usual_files_of_frameworks_say_nothing_new() {
    let laravel = "<IfModule mod_rewrite.c>\n    <IfModule mod_negotiation.c>\n        Options -MultiViews -Indexes\n    </IfModule>\n\n    RewriteEngine On\n\n    # Handle Authorization Header\n    RewriteCond %{HTTP:Authorization} .\n    RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]\n\n    # Redirect Trailing Slashes...\n    RewriteCond %{REQUEST_FILENAME} !-d\n    RewriteCond %{REQUEST_URI} (.+)/$\n    RewriteRule ^ %1 [L,R=301]\n\n    RewriteCond %{REQUEST_FILENAME} !-d\n    RewriteCond %{REQUEST_FILENAME} !-f\n    RewriteRule ^ index.php [L]\n</IfModule>\n";
    let wordpress = "# BEGIN WordPress\n<IfModule mod_rewrite.c>\nRewriteEngine On\nRewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]\nRewriteBase /\nRewriteRule ^index\\.php$ - [L]\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteCond %{REQUEST_FILENAME} !-d\nRewriteRule . /index.php [L]\n</IfModule>\n# END WordPress\n";
    let symfony = "DirectoryIndex index.php\n<IfModule mod_rewrite.c>\n    RewriteEngine On\n    RewriteCond %{REQUEST_URI}::$0 ^(/.+)/(.*)::\\2$\n    RewriteRule .* - [E=BASE:%1]\n    RewriteCond %{HTTP:Authorization} .+\n    RewriteRule ^ - [E=HTTP_AUTHORIZATION:%0]\n    RewriteCond %{ENV:REDIRECT_STATUS} =\"\"\n    RewriteRule ^index\\.php(?:/(.*)|$) %{ENV:BASE}/$1 [R=301,L]\n    RewriteCond %{REQUEST_FILENAME} !-f\n    RewriteRule ^ %{ENV:BASE}/index.php [L]\n</IfModule>\n<IfModule !mod_rewrite.c>\n    <IfModule mod_alias.c>\n        RedirectMatch 307 ^/$ /index.php/\n    </IfModule>\n</IfModule>\n";
    for text in [laravel, wordpress, symfony] {
        let files = MemoryFiles::new([("public/.htaccess", text), ("public/index.php", "")]);
        let out = Htaccess::read(&files, "public", true);
        assert_eq!((out.rules, out.deny, out.findings), Default::default(), "{text}");
        // Where the front controller is not known, the same files lead there.
        let out = Htaccess::read(&files, "public", false);
        assert_eq!(out.findings, [], "{text}");
        assert!(out.front_controller.is_some(), "{text}");
        assert_eq!(led(&out.rules, &["/index.php", "/a.css"], "/users/1?a=b"), "/index.php?a=b", "{text}");
        assert_eq!(led(&out.rules, &["/index.php", "/a.css"], "/a.css"), "-", "{text}");
    }
}

/// Where `text` at the document root sends `address`.
fn sent(text: &str, address: &str) -> String {
    let out = Htaccess::read(&MemoryFiles::new([(".htaccess", text), ("index.php", "")]), "", false);
    assert_eq!(out.findings, [], "{text}");
    led(&out.rules, &["/index.php", "/there.txt"], address)
}

#[test]
fn redirects_are_applied() {
    for (text, cases) in [
        (
            "Redirect 301 /old https://example.org/new\nRedirectPermanent /a /b\nRedirect gone /dead\nRedirect /c /d",
            &[
                ("/old/x", "301 https://example.org/new/x"),
                ("/a", "301 /b"),
                ("/dead", "410 "),
                ("/c", "302 /d"),
                ("/", "-"),
            ][..],
        ),
        (
            "RedirectMatch 301 ^/blog/(\\d+)/.*$ /news/$1\nRedirectMatch 404 \\.(?:git|svn)(?:/|$)",
            &[("/blog/12/x", "301 /news/12"), ("/.git/config", "404 "), ("/.github", "-")],
        ),
        (
            "RewriteEngine On\nRewriteRule ^old/?$ /new [R=301,L]\nRewriteRule ^page/(.*)$ pages/$1 [NC,R=302,L,QSA]",
            &[("/old/", "301 /new"), ("/Page/1?x", "302 /pages/1?x"), ("/newer", "-")],
        ),
        ("RewriteEngine on\nRewriteBase /shop/\nRewriteRule ^a$ b [R]", &[("/a", "302 /shop/b")]),
        (
            "RewriteEngine On\nRewriteCond %{HTTP_HOST} ^www\\.(.+)$ [NC]\nRewriteRule ^ https://%1%{REQUEST_URI} [R=301,L]",
            &[("/a?b", "301 https://example.org/a?b")],
        ),
        (
            "RewriteEngine On\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteCond %{REQUEST_FILENAME} !-d\n\
             RewriteRule ^(.*)\\.txt$ /$1 [R=301,L]",
            &[("/there.txt", "-"), ("/gone.txt", "301 /gone")],
        ),
        (
            "RewriteEngine On\nRewriteCond %{QUERY_STRING} ^p=(\\d+)$\nRewriteRule ^$ /post/%1? [R=301,L]",
            &[("/?p=7", "301 /post/7"), ("/?q=7", "-")],
        ),
        (
            "RewriteRule ^(vendor|storage)/ - [F,L]\nRewriteRule ^config\\.php$ - [F]",
            &[("/vendor/a", "403 "), ("/config.php", "403 "), ("/configs", "-")],
        ),
        (
            "RewriteEngine On\nRewriteRule ^keep/ - [L]\nRewriteRule ^(.*)/$ /$1 [R=301,L]\n\
             RewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule . index.php [L]",
            &[("/keep/", "-"), ("/x/", "301 /x"), ("/y", "/index.php")],
        ),
    ] {
        for (path, expected) in cases {
            assert_eq!(sent(text, path), *expected, "{text}\n{path}");
        }
    }
}

#[test]
fn files_of_folders_come_before_those_above_them() {
    let files = MemoryFiles::new([
        (
            "public/.htaccess",
            "RewriteEngine On\nRewriteRule ^ /root [R,L]\nRedirect /shop/a /root\nHeader set X root",
        ),
        ("public/shop/.htaccess", "RewriteEngine On\nRedirect /shop/a /shop\nHeader set X shop"),
    ]);
    let out = Htaccess::read(&files, "public", false);
    let to = |path| led(&out.rules, &[], path);
    assert_eq!(to("/x"), "302 /root");
    assert_eq!(to("/shop/a"), "302 /shop", "a folder's own rewriting ends that of the folders above it");
    assert_eq!(to("/shop/b"), "-");
    let values: Vec<&HeaderAction> = out.rules.headers.iter().map(|header| &header.action).collect();
    assert_eq!(
        values,
        [&HeaderAction::Set("root".into()), &HeaderAction::Set("shop".into())],
        "the last one holds"
    );
}

#[test]
fn headers_are_applied() {
    let out = read(
        "<IfModule mod_headers.c>\nHeader always set X-Frame-Options \"DENY\"\nHeader unset ETag\n\
         <FilesMatch \"\\.(css|js)$\">\nHeader append Vary Accept\n</FilesMatch>\n</IfModule>\n",
    );
    assert_eq!(out.findings, []);
    let files = || Pattern::new("\\.(css|js)$", false);
    let rule = |names: Option<Pattern>, name: &str, action| HeaderRule {
        on: Scope { folder: "private".into(), names },
        name: name.into(),
        action,
    };
    assert_eq!(
        out.rules.headers,
        [
            rule(None, "X-Frame-Options", HeaderAction::Set("DENY".into())),
            rule(None, "ETag", HeaderAction::Unset),
            rule(files(), "Vary", HeaderAction::Append("Accept".into())),
        ]
    );
    assert!(out.rules.headers[2].on.covers("/private/deep/site.css"));
    assert!(!out.rules.headers[2].on.covers("/private/site.html"));
}

#[test]
fn the_files_of_well_known_applications_do_what_they_do_under_apache() {
    let drupal = "<FilesMatch \"\\.(engine|inc|module|sh|.*sql|twig|yml)(~|\\.bak)?$|^(\\.(?!well-known).*|Entries.*|composer\\.(json|lock))$|^#.*#$\">\n  <IfModule mod_authz_core.c>\n    Require all denied\n  </IfModule>\n</FilesMatch>\nOptions -Indexes\n<IfModule mod_rewrite.c>\n  RewriteEngine on\n  RewriteRule \"/\\.|^\\.(?!well-known/)\" - [F]\n  RewriteCond %{REQUEST_URI} ^(.*)?/(install\\.php) [OR]\n  RewriteCond %{REQUEST_URI} ^(.*)?/(rebuild\\.php)\n  RewriteCond %{REQUEST_URI} !core\n  RewriteRule ^ %1/core/%2 [L,QSA,R=301]\n  RewriteRule ^core/install\\.php core/install.php?rewrite=ok [QSA,L]\n  RewriteCond %{REQUEST_FILENAME} !-f\n  RewriteCond %{REQUEST_FILENAME} !-d\n  RewriteCond %{REQUEST_URI} !=/favicon.ico\n  RewriteRule ^ index.php [L]\n  RewriteCond %{REQUEST_URI} !/core/[^/]*\\.php$\n  RewriteCond %{REQUEST_URI} !/core/modules/statistics/statistics\\.php$\n  RewriteRule \"^(.+/.*|autoload)\\.php($|/)\" - [F]\n</IfModule>\n";
    let kirby = "RewriteEngine on\nRewriteRule (^|/)\\.(?!well-known\\/) index.php [L]\nRewriteRule ^content/(.*) index.php [L]\nRewriteRule ^site/(.*) index.php [L]\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteCond %{REQUEST_FILENAME} !-d\nRewriteRule ^(.*) index.php [L]\n";
    let grav = "RewriteEngine On\nRewriteCond %{REQUEST_URI} ({{|}}|{%|%}) [OR]\nRewriteCond %{QUERY_STRING} ({{|}}|{%25|%25}) [OR]\nRewriteCond %{QUERY_STRING} (<|%3C)([^s]*s)+cript.*(>|%3E) [NC,OR]\nRewriteCond %{QUERY_STRING} GLOBALS(=|\\[|\\%[0-9A-Z]{0,2})\nRewriteRule .* index.php [F]\nRewriteCond %{REQUEST_URI} !^/index\\.php\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteCond %{REQUEST_FILENAME} !-d\nRewriteRule .* index.php [L]\nRewriteRule ^(user)/(.*)\\.(txt|md|yaml)$ error [F]\n";
    let joomla = "RewriteEngine On\nRewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]\nRewriteCond %{REQUEST_URI} ^/api/\nRewriteCond %{REQUEST_URI} !^/api/index\\.php\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteCond %{REQUEST_FILENAME} !-d\nRewriteRule .* api/index.php [L]\nRewriteCond %{REQUEST_URI} !^/index\\.php\nRewriteCond %{REQUEST_FILENAME} !-f\nRewriteCond %{REQUEST_FILENAME} !-d\nRewriteRule .* index.php [L]\nRewriteCond \"%{HTTP:Accept-encoding}\" \"gzip\"\nRewriteCond \"%{REQUEST_FILENAME}\\.gz\" -s\nRewriteRule \"^(.*)\\.css\" \"$1\\.css\\.gz\" [QSA]\nRewriteRule \"\\.css\\.gz$\" \"-\" [T=text/css,E=no-gzip:1]\n";
    let freshrss = "<FilesMatch \"^\\.|^(?!oidc)[^.]+$|\\.(?!css|html|php|png)[^.]*$\">\nRequire all denied\n</FilesMatch>\nRewriteEngine on\nRewriteRule .* - [E=CONN_REMOTE_ADDR:%{REMOTE_ADDR}]\n";
    let codeigniter = "RewriteEngine On\nRewriteCond $1 !^(index\\.php|images|robots\\.txt)\nRewriteRule ^(.*)$ /index.php/$1 [L]\n";
    let files = [
        "/index.php",
        "/core/install.php",
        "/core/modules/x/x.module",
        "/sites/default/x.php",
        "/composer.json",
        "/content/site.txt",
        "/site/config.php",
        "/a.css",
        "/b.css",
        "/b.css.gz",
        "/user/a.yaml",
        "/api/index.php",
        "/images/a.png",
        "/secret.ini",
        "/README",
        "/oidc",
    ];
    for (text, cases) in [
        (
            drupal,
            &[
                ("/node/1?a=b", "/index.php?a=b"),
                ("/core/modules/x/x.module", "denied"),
                ("/composer.json", "denied"),
                ("/.git/config", "403 "),
                ("/.well-known/acme", "/index.php"),
                ("/sites/default/x.php", "403 "),
                ("/api/", "403 "),
                ("/install.php", "301 /core/install.php"),
                ("/core/install.php", "/core/install.php?rewrite=ok"),
                ("/a.css", "-"),
                ("/favicon.ico", "-"),
            ][..],
        ),
        (
            kirby,
            &[
                ("/content/site.txt", "/index.php"),
                ("/site/config.php", "/index.php"),
                ("/panel/login", "/index.php"),
                ("/.git/x", "/index.php"),
                ("/a.css", "-"),
            ],
        ),
        (
            grav,
            &[
                ("/{{x}}", "403 "),
                ("/?x=<script>", "403 "),
                ("/?GLOBALS[a]=1", "403 "),
                ("/blog", "/index.php"),
                ("/user/a.yaml", "403 "),
                ("/a.css", "-"),
            ],
        ),
        (
            joomla,
            &[
                ("/api/index.php/v1/x", "-"),
                ("/api/v1/x", "/api/index.php"),
                ("/news", "/index.php"),
                ("/index.php/news", "-"),
                ("/a.css", "-"),
                ("/b.css", "/b.css.gz"),
            ],
        ),
        (
            freshrss,
            &[
                ("/index.php", "-"),
                ("/secret.ini", "denied"),
                ("/README", "denied"),
                ("/oidc", "-"),
                ("/a.css", "-"),
            ],
        ),
        (
            codeigniter,
            &[("/users/1", "/index.php/users/1"), ("/images/a.png", "-"), ("/index.php/users", "-")],
        ),
    ] {
        let out = Htaccess::read(&MemoryFiles::new([(".htaccess", text), ("index.php", "")]), "", false);
        assert_eq!((&out.findings, &out.deny), (&vec![], &vec![]), "{text}");
        for (address, expected) in cases {
            assert_eq!(led(&out.rules, &files, address), *expected, "{address}\n{text}");
        }
    }
}

#[test]
fn a_front_controller_is_found() {
    const FILES: &str = "RewriteCond %{REQUEST_FILENAME} !-f\nRewriteCond %{REQUEST_FILENAME} !-d\n";
    for (rule, line, to) in [
        ("RewriteRule ^(.*) index.php [PT,L]", Some(4), "/index.php"),
        ("RewriteRule ^ index.php [QSA,L]", Some(4), "/index.php"),
        ("RewriteRule . /index.php [L]", Some(4), "/index.php"),
        ("RewriteRule ^.*$ ./index.php", Some(4), "/index.php"),
        ("RewriteRule ^(.*)$ index.php/$1 [L]", Some(4), "/index.php/x/y"),
        ("RewriteRule ^([^?]*) index.php?_route_=$1 [L,QSA]", None, "/index.php?_route_=x/y"),
        ("RewriteCond %{HTTP_HOST} ^api\\.\nRewriteRule ^ index.php [L]", None, "-"),
        ("RewriteRule ^$ index.php [L]", None, "-"),
        ("RewriteRule ^x/ index.php [L]", None, "/index.php"),
        ("RewriteRule ^ blog/index.php [L]", None, "/blog/index.php"),
    ] {
        let text = format!("RewriteEngine On\n{FILES}{rule}\n");
        let at = |folder: &str| {
            let file = format!("{folder}.htaccess");
            Htaccess::read(&MemoryFiles::new([(file.as_str(), text.as_str()), ("index.php", "")]), "", false)
        };
        let out = at("");
        let place = line.map(|line| format!(".htaccess:{line}"));
        assert_eq!((&out.front_controller, out.findings.len()), (&place, 0), "{rule}: {:?}", out.findings);
        assert_eq!(led(&out.rules, &["/index.php", "/blog/index.php"], "/x/y"), to, "{rule}");
        assert_eq!(at("blog/").front_controller, None, "{rule}: a folder's own is none of the site");
    }
    for (text, found) in [
        ("RewriteRule . index.php", false),
        ("RewriteEngine On\nRewriteRule . index.php", true),
        ("RewriteEngine Off\nRewriteRule . index.php", false),
    ] {
        let out = Htaccess::read(&MemoryFiles::new([(".htaccess", text)]), "", false);
        assert_eq!(out.front_controller.is_some(), found, "{text}");
    }
}

#[test]
fn variables_reach_scripts() {
    let text = "SetEnv HTTP_MOD_REWRITE On\nSetEnv PHP_VALUE x\nRewriteEngine On\n\
                RewriteRule ^(.*)$ - [E=ID:$1,E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]";
    let out = Htaccess::read(&MemoryFiles::new([(".htaccess", text)]), "", true);
    let outcome = out.rules.apply(&asked("/a"), &site(&[])).expect("easy patterns");
    let told: Vec<String> = outcome.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(told, ["HTTP_MOD_REWRITE=On", "ID=a"]);
    assert!(out.findings[0].what.contains("PHP_VALUE is not set"), "{:?}", out.findings);
}

#[test]
fn rewriting_is_in_force_where_it_is_switched_on() {
    const RULE: &str = "RewriteRule ^a$ /b [L]\n";
    for (above, own, expected, findings) in [
        ("", "RewriteEngine On\nRewriteRule ^a$ /b [L]", "/b", 0),
        ("RewriteEngine On\n", RULE, "/b", 0),
        ("", RULE, "-", 1),
        ("RewriteEngine On\nRewriteRule ^shop/a$ /c [L]\n", "", "/c", 0),
        ("RewriteEngine On\nRewriteRule ^shop/a$ /c [L]\n", "RewriteEngine Off\n", "-", 0),
        ("RewriteEngine On\n", "RewriteEngine Off\nRewriteRule ^a$ - [F]\n", "-", 0),
        ("", "RewriteRule ^a$ - [F]\n", "403 ", 0),
    ] {
        let files = MemoryFiles::new([(".htaccess", above), ("shop/.htaccess", own)]);
        let out = Htaccess::read(&files, "", false);
        assert_eq!(out.findings.len(), findings, "{above}{own}{:?}", out.findings);
        assert_eq!(led(&out.rules, &["/shop/index.php"], "/shop/a"), expected, "{above}{own}");
    }
}

#[test]
fn what_is_not_applied_is_named() {
    for (text, what) in [
        ("RedirectMatch ( /b", "the redirect is not understood and not applied"),
        ("Redirect 301 /a", "the redirect is not understood and not applied"),
        ("<Files a>\nRedirect /a /b\n</Files>", "a redirect for some files or requests only is not applied"),
        ("Header set X \"%{A}e\"", "a header with a condition or a variable is not applied"),
        ("Header set X y env=HTTPS", "a header with a condition or a variable is not applied"),
        ("Header edit Location http https", "a header with a condition or a variable is not applied"),
        ("Header set Content-Length 0", "the header Content-Length is not applied: it is the server's own"),
        ("<If true>\nHeader set X y\n</If>", "a header for some files or requests only is not applied"),
        ("RewriteRule ^a$ /b [R]", "a rewrite is not applied: the file does not switch rewriting on"),
        ("RewriteEngine On\nRewriteRule ^a$ http://b/ [P]", "a rewrite with [P] is not applied"),
        (
            "RewriteEngine On\nRewriteRule ^a$ %{TIME} [L]",
            "a rewrite is not applied: its target is not understood",
        ),
        (
            "RewriteEngine On\nRewriteCond %{TIME_HOUR} >20\nRewriteRule ^a$ /b [R]",
            "a rewrite is not applied: its condition %{TIME_HOUR} >20 is not understood",
        ),
        (
            "RewriteEngine On\nRewriteCond %{HTTPS} off\nRewriteRule ^ https://%{HTTP_HOST}%{REQUEST_URI} [R=301,L]",
            "the redirect to https is applied where a proxy that is trusted says how the client came",
        ),
        ("php_value memory_limit 1G", "php_value memory_limit is not applied"),
        ("Frobnicate on", "\"frobnicate\" is not known and not applied"),
    ] {
        let said: Vec<String> = read(text).findings.into_iter().map(|finding| finding.what).collect();
        assert_eq!(said, [what], "{text}");
    }
    let out = read("RedirectMatch 404 (");
    assert_eq!(out.deny, ["private/**"], "what closes paths and is not understood closes the folder");
}
