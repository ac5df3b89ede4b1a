use regie_core::Patterns;
use regie_core::rules::{Asked, HeaderAction, HeaderRule};

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
        ("RewriteRule ^[a-z]+$ - [F]", "the rewrite that forbids is not understood, so private is refused"),
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
fn a_front_controller_is_found() {
    const FILES: &str = "RewriteCond %{REQUEST_FILENAME} !-f\nRewriteCond %{REQUEST_FILENAME} !-d\n";
    for (rule, line, notes) in [
        ("RewriteRule ^(.*) index.php [PT,L]", Some(4), 0),
        ("RewriteRule ^ index.php [QSA,L]", Some(4), 0),
        ("RewriteRule . /index.php [L]", Some(4), 0),
        ("RewriteCond %{REQUEST_URI} !^/css/\nRewriteRule ^.*$ ./index.php", Some(5), 0),
        ("RewriteRule ^(.*)$ index.php/$1 [L]", Some(4), 1),
        ("RewriteRule ^([^?]*) index.php?_route_=$1 [L,QSA]", Some(4), 1),
        ("RewriteCond %{HTTP_HOST} ^api\\.\nRewriteRule ^ index.php [L]", None, 1),
        ("RewriteRule ^$ index.php [L]", None, 0),
        ("RewriteRule ^shop/ index.php [L]", None, 0),
        ("RewriteRule ^ blog/index.php [L]", None, 0),
    ] {
        let text = format!("RewriteEngine On\n{FILES}{rule}\n");
        let at = |folder: &str| {
            let file = format!("{folder}.htaccess");
            Htaccess::read(&MemoryFiles::new([(file.as_str(), text.as_str()), ("index.php", "")]), "")
        };
        let out = at("");
        let place = line.map(|line| format!(".htaccess:{line}"));
        assert_eq!((out.front_controller, out.findings.len()), (place, notes), "{rule}: {:?}", out.findings);
        assert_eq!(at("blog/").front_controller, None, "{rule}: a folder's own is none of the site");
    }
    for (text, found, notes) in [
        ("RewriteRule . index.php", false, 0),
        ("RewriteEngine On\nRewriteRule . index.php", true, 1),
        ("RewriteEngine Off\nRewriteRule . index.php", false, 0),
    ] {
        let out = Htaccess::read(&MemoryFiles::new([(".htaccess", text)]), "");
        assert_eq!((out.front_controller.is_some(), out.findings.len()), (found, notes), "{text}");
    }
}

/// Where `text` at the document root sends `path`, as `301 /there`.
fn sent(text: &str, path: &str) -> String {
    let out = Htaccess::read(&MemoryFiles::new([(".htaccess", text), ("index.php", "")]), "");
    assert_eq!(out.findings, [], "{text}");
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let asked = Asked { path, query, host: "www.example.org", method: "GET", https: Some(false) };
    let answer = out.rules.answer(&asked, |_| path == "/there.txt");
    answer.map_or("-".to_owned(), |to| format!("{} {}", to.status, to.location.unwrap_or_default()))
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
            "RewriteEngine On\nRewriteRule ^keep/ - [L]\nRewriteRule ^(.*)/$ /$1 [R=301,L]\n\
             RewriteCond %{REQUEST_FILENAME} !-f\nRewriteRule . index.php [L]",
            &[("/keep/", "-"), ("/x/", "301 /x")],
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
    let out = Htaccess::read(&files, "public");
    let to = |path| {
        let asked = Asked { path, query: "", host: "a", method: "GET", https: None };
        out.rules.answer(&asked, |_| false).and_then(|answer| answer.location)
    };
    assert_eq!(to("/x").as_deref(), Some("/root"));
    assert_eq!(
        to("/shop/a").as_deref(),
        Some("/shop"),
        "a folder's own rewriting ends that of the folders above it"
    );
    assert_eq!(to("/shop/b"), None);
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
    let rule =
        |on: &[&str], name: &str, action| HeaderRule { on: Patterns::new(on), name: name.into(), action };
    assert_eq!(
        out.rules.headers,
        [
            rule(&["private/**"], "X-Frame-Options", HeaderAction::Set("DENY".into())),
            rule(&["private/**"], "ETag", HeaderAction::Unset),
            rule(&["private/**/*.css", "private/**/*.js"], "Vary", HeaderAction::Append("Accept".into())),
        ]
    );
    assert!(out.rules.headers[2].on.matches("private/deep/site.css"));
    assert!(!out.rules.headers[2].on.matches("private/site.html"));
}

#[test]
fn what_is_not_applied_is_named() {
    for (text, what) in [
        ("RedirectMatch ^(?!/a) /b", "the redirect is not understood and not applied"),
        ("Redirect 301 /a", "the redirect is not understood and not applied"),
        ("<Files a>\nRedirect /a /b\n</Files>", "a redirect for some files or requests only is not applied"),
        ("Header set X \"%{A}e\"", "a header with a condition or a variable is not applied"),
        ("Header set X y env=HTTPS", "a header with a condition or a variable is not applied"),
        ("Header edit Location http https", "a header with a condition or a variable is not applied"),
        ("Header set Content-Length 0", "the header Content-Length is not applied: it is the server's own"),
        ("<If true>\nHeader set X y\n</If>", "a header for some files or requests only is not applied"),
        (
            "RewriteRule ^a$ /b [R]",
            "a redirecting rewrite is not applied: the file does not switch rewriting on",
        ),
        (
            "RewriteEngine On\nRewriteRule ^a$ /b [R,E=x:y]",
            "a redirecting rewrite is not understood and not applied",
        ),
        (
            "RewriteEngine On\nRewriteCond %{REMOTE_ADDR} ^10\nRewriteRule ^a$ /b [R]",
            "a redirecting rewrite is not understood and not applied",
        ),
        (
            "RewriteEngine On\nRewriteRule . /index.php [L]\nRewriteRule ^a$ /b [R]",
            "a redirecting rewrite behind the one to the front controller is not applied",
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
    let out = read("RedirectMatch 404 ^(?!/a)");
    assert_eq!(out.deny, ["private/**"], "what closes paths and is not understood closes the folder");
}
