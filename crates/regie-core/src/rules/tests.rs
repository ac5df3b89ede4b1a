use super::*;

const SITE: Listed<'_> = Listed {
    files: &["/index.php", "/a.css", "/shop/index.php", "/data/secret.txt", "/old.php"],
    headers: &[("user-agent", "DavClnt/1")],
};

fn asked<'a>(path: &'a str, query: &'a str) -> Asked<'a> {
    // A path may hold a question mark, which was sent as %3F.
    Asked { path, query, ..Asked::get(path) }
}

fn pattern(expression: &str) -> Pattern {
    Pattern::new(expression, false).expect("a pattern")
}

fn text(text: &str) -> Template {
    Template::parse(text, true).expect("a template")
}

fn rewrite(expression: &str, to: &str, then: Then) -> Rewrite {
    let (to, to_query) = match to {
        "-" => (None, None),
        to => {
            let (to, query) = text(to).relative_to("").split_query();
            (Some(to), query)
        }
    };
    Rewrite {
        pattern: pattern(expression),
        negated: false,
        conditions: Vec::new(),
        to,
        to_query,
        query: Query::Keep,
        variables: Vec::new(),
        then,
        is_chained: false,
    }
}

fn when(test: Test) -> Condition {
    Condition { test, negated: false, or_next: false }
}

fn unless(test: Test) -> Condition {
    Condition { test, negated: true, or_next: false }
}

fn file() -> Test {
    Test::File(text("%{REQUEST_FILENAME}"))
}

fn rewriting(rewrites: Vec<Rewrite>) -> Rules {
    Rules { rewriting: vec![Rewriting { folder: String::new(), rewrites }], ..Rules::default() }
}

/// `301 /there`, `/there?query`, or `-` when the request goes through as it came.
fn led(rules: &Rules, asked: &Asked<'_>) -> String {
    let outcome = rules.apply(asked, &SITE).expect("easy patterns");
    match (outcome.answer, outcome.rewritten) {
        (Some(answer), _) => format!("{} {}", answer.status, answer.location.unwrap_or_default()),
        (None, Some(to)) => format!("{}?{}", to.path, to.query),
        (None, None) => "-".into(),
    }
}

#[test]
fn a_redirect_takes_along_what_is_below_it() {
    let redirect = |from: &str, to: &str| Redirect {
        from: From::Prefix(from.into()),
        to: Some(Template::literal(to)),
        status: 302,
    };
    let rules = Rules {
        redirects: vec![
            redirect("/old", "https://example.org/new"),
            redirect("/docs/", "/manual/"),
            Redirect { from: From::Prefix("/dead".into()), to: None, status: 410 },
            Redirect {
                from: From::Pattern(pattern("^/blog/(\\d+)")),
                to: Template::parse("/news?id=$1", false),
                status: 301,
            },
            redirect("/same", "/same"),
        ],
        ..Rules::default()
    };
    for (path, query, expected) in [
        ("/old", "", "302 https://example.org/new"),
        ("/old/a b", "x=1", "302 https://example.org/new/a%20b?x=1"),
        ("/older", "", "-"),
        ("/docs/a", "", "302 /manual/a"),
        ("/docs", "", "-"),
        ("/dead/a", "", "410 "),
        ("/blog/12/x", "y=2", "301 /news?id=12"),
        ("/blog/x", "", "-"),
        ("/same", "", "-"),
    ] {
        assert_eq!(led(&rules, &asked(path, query)), expected, "{path}?{query}");
    }
}

#[test]
fn a_redirecting_rewrite_is_filled_with_what_was_asked_for() {
    for (expression, to, path, query, expected) in [
        ("^old/?$", "/new", "/old/", "", "301 /new"),
        ("^blog/(.*)$", "/news/$1", "/blog/a/b", "p=1", "301 /news/a/b?p=1"),
        ("^blog/(.*)$", "/news/$1?", "/blog/a", "p=1", "301 /news/a"),
        ("^blog/(.*)$", "/news?n=$1", "/blog/a", "p=1", "301 /news?n=a"),
        ("^(.*)$", "https://%{HTTP_HOST}%{REQUEST_URI}", "/a", "b", "301 https://www.example.org/a?b"),
        ("^(.*)/$", "/$1", "/x/", "", "301 /x"),
        // What a client sends does not lead to another site, end the line or begin a query.
        ("^go/(.*)$", "/$1", "/go//evil.example", "", "301 /evil.example"),
        ("^go/(.*)$", "/$1", "/go/a\r\nSet-Cookie: x?y#z", "", "301 /a%0D%0ASet-Cookie:%20x%3Fy%23z"),
        ("^a$", "b", "/a", "", "301 /b"),
        ("^a$", "/a", "/a", "", "-"),
        ("^a$", "/b", "/c", "", "-"),
    ] {
        let rules = rewriting(vec![rewrite(expression, to, Then::Redirect(301))]);
        assert_eq!(led(&rules, &asked(path, query)), expected, "{expression} {path}");
    }
    let odd = Asked { host: "a/b@c", ..asked("/a", "") };
    let rules = rewriting(vec![rewrite("", "https://%{HTTP_HOST}/", Then::Redirect(301))]);
    assert_eq!(led(&rules, &odd), "-");
}

#[test]
fn a_rewrite_leads_to_another_place() {
    let front = || Rewrite { conditions: vec![unless(file())], ..rewrite("^(.*)$", "index.php", Then::Last) };
    let with = |query| Rewrite { query, ..rewrite("^p/(\\d+)$", "index.php?page=$1", Then::Last) };
    for (rewrites, path, query, expected) in [
        (vec![front()], "/users/1", "a=b", "/index.php?a=b"),
        (vec![front()], "/a.css", "", "-"),
        (vec![front()], "/index.php/users/1", "", "-"),
        (vec![with(Query::Keep)], "/p/7", "a=b", "/index.php?page=7"),
        (vec![with(Query::Append)], "/p/7", "a=b", "/index.php?page=7&a=b"),
        (vec![rewrite("^p$", "index.php?", Then::Last)], "/p", "a=b", "/index.php?"),
        (vec![rewrite("^(.*)$", "index.php/$1", Then::End)], "/x/y", "", "/index.php/x/y?"),
        // What answers for a folder is closed with its name, and a folder without its slash is not rewritten.
        (vec![rewrite("^.+/.*\\.php$", "-", Then::Refuse(403))], "/shop/", "", "403 "),
        (vec![rewrite("^(.*)$", "index.php", Then::Last)], "/shop", "", "-"),
        // It would go on for ever.
        (vec![rewrite("^(.*)$", "x$1", Then::Last)], "/a", "", "/xxxxxxxxxxa?"),
        (vec![rewrite("^(.*)$", "index.php", Then::Last)], "/a", "", "/index.php?"),
        (vec![rewrite("^data/", "index.php", Then::Last)], "/data/secret.txt", "", "/index.php?"),
        (vec![rewrite("^data/", "-", Then::Refuse(403))], "/data/secret.txt", "", "403 "),
        (vec![rewrite("^up/(.*)$", "/$1", Then::Last)], "/up/../../etc/passwd", "", "404 "),
        // One rule goes on with what the one before it has made.
        (
            vec![rewrite("^a/(.*)$", "b/$1", Then::Next), rewrite("^b/(.*)$", "c/$1", Then::End)],
            "/a/1",
            "",
            "/c/1?",
        ),
        (
            vec![
                rewrite("^a", "-", Then::Skip(1)),
                rewrite("^", "b", Then::End),
                rewrite("^", "c", Then::End),
            ],
            "/a",
            "",
            "/c?",
        ),
        (
            vec![
                Rewrite { is_chained: true, ..rewrite("^x", "-", Then::Next) },
                rewrite("^", "b", Then::End),
                rewrite("^", "c", Then::End),
            ],
            "/a",
            "",
            "/c?",
        ),
        (vec![Rewrite { negated: true, ..rewrite("^a", "/b", Then::End) }], "/c", "", "/b?"),
    ] {
        assert_eq!(led(&rewriting(rewrites.clone()), &asked(path, query)), expected, "{path} {rewrites:#?}");
    }
}

#[test]
fn conditions_are_weighed_as_apache_does() {
    let www = || Test::Matches(text("%{HTTP_HOST}"), Pattern::new("^www\\.(.+)$", true).expect("a pattern"));
    let or = |test| Condition { test, negated: false, or_next: true };
    let agent = || Test::Matches(text("%{HTTP_USER_AGENT}"), pattern("DavClnt"));
    let own = |value: &str| Test::Is(text("%{ENV:MODE}"), value.into(), false);
    for (conditions, https, path, expected) in [
        (vec![when(www())], None, "/a", true),
        (vec![unless(www())], None, "/a", false),
        (vec![when(Test::Https(false)), when(www())], None, "/a", false),
        (vec![when(Test::Https(false)), when(www())], Some(false), "/a", true),
        (vec![when(Test::Https(false)), when(www())], Some(true), "/a", false),
        (vec![or(Test::Https(false)), when(www())], None, "/a", true),
        (vec![or(www()), when(Test::Https(true)), when(www())], Some(false), "/a", true),
        (vec![or(www()), or(www()), when(file())], None, "/a", true),
        (vec![when(file()), when(www())], None, "/a", false),
        (vec![when(file()), when(www())], None, "/a.css", true),
        (vec![unless(Test::Folder(text("%{DOCUMENT_ROOT}/$0"))), when(www())], None, "/shop", false),
        (vec![when(Test::File(text("/etc/passwd"))), when(www())], None, "/a", false),
        (vec![when(agent()), when(www())], None, "/a", true),
        (vec![when(own("live")), when(www())], None, "/a", true),
        (vec![when(own("test")), when(www())], None, "/a", false),
        (vec![unless(Test::Never), when(www())], None, "/a", true),
        // The groups of one condition are the next one's to use.
        (
            vec![
                when(www()),
                when(Test::Matches(text("%1::$0"), pattern("^example\\.org::a(.*)$"))),
                when(www()),
            ],
            None,
            "/a",
            true,
        ),
    ] {
        let rule = Rewrite {
            conditions: conditions.clone(),
            ..rewrite("^.*$", "https://%1/$0", Then::Redirect(301))
        };
        let variables = vec![(String::new(), "MODE".to_owned(), "live".to_owned())];
        let rules = Rules { variables, ..rewriting(vec![rule]) };
        let expected = if expected { format!("301 https://example.org{path}") } else { "-".into() };
        assert_eq!(led(&rules, &Asked { https, ..asked(path, "") }), expected, "{conditions:?} {https:?}");
    }
}

#[test]
fn the_deepest_folder_that_rewrites_decides() {
    let mut rules = rewriting(vec![rewrite("", "/root", Then::Redirect(301))]);
    rules.rewriting.push(Rewriting {
        folder: "shop".into(),
        rewrites: vec![
            rewrite("^a$", "/shop/b", Then::Redirect(301)),
            rewrite("^c$", "-", Then::Last),
            rewrite("^(c|d)$", "/shop/e", Then::Redirect(301)),
            rewrite("^f$", "/elsewhere", Then::Last),
        ],
    });
    rules.rewriting.push(Rewriting { folder: "quiet".into(), rewrites: Vec::new() });
    for (path, expected) in [
        ("/x", "301 /root"),
        ("/shop/a", "301 /shop/b"),
        ("/shop/c", "-"),
        ("/shop/d", "301 /shop/e"),
        ("/shop/x", "-"),
        // Where it leads, other rules are in force.
        ("/shop/f", "301 /root"),
        // First it becomes /shop/.
        ("/shop", "-"),
        ("/shopping", "301 /root"),
        ("/quiet/x", "-"),
    ] {
        assert_eq!(led(&rules, &asked(path, "")), expected, "{path}");
    }
}

#[test]
fn scripts_are_told_what_rules_have_set() {
    let mut rules = rewriting(vec![Rewrite {
        variables: vec![("ID".into(), text("$1"))],
        ..rewrite("^p/(.*)$", "index.php", Then::Last)
    }]);
    rules.variables = vec![
        (String::new(), "HTTP_MOD_REWRITE".into(), "On".into()),
        ("shop".into(), "SHOP".into(), "1".into()),
    ];
    let names = |path| {
        let outcome = rules.apply(&asked(path, ""), &SITE).expect("easy patterns");
        outcome.variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(names("/x"), ["HTTP_MOD_REWRITE=On"]);
    assert_eq!(names("/shop/x"), ["HTTP_MOD_REWRITE=On", "SHOP=1"]);
    let set = names("/p/7");
    assert!(
        set.contains(&"REDIRECT_ID=7".to_owned()) && set.contains(&"REDIRECT_STATUS=200".to_owned()),
        "{set:?}"
    );
}

#[test]
fn a_pattern_that_cannot_be_decided_is_no_way_in() {
    let hard = rewrite("(?:(a|b|ab)*)\\1c", "-", Then::Refuse(403));
    let path = format!("/{}", "ab".repeat(4000));
    assert_eq!(rewriting(vec![hard]).apply(&asked(&path, ""), &SITE), Err(TooHard));
}
