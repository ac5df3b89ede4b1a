//! Laravel and Symfony of Debian's packages, in classic, worker and rewind mode: the same answers.

use std::collections::BTreeSet;
use std::io;

use regie_e2e::site::regie;
use regie_e2e::{App, Connection, Reply, Site, eventually};

/// A visitor with cookies of their own, on a connection of their own.
pub(crate) struct Visitor {
    connection: Connection,
    pub(crate) cookies: Vec<(String, String)>,
}

impl Visitor {
    pub(crate) fn new(site: &Site) -> Self {
        Self { connection: Connection::open(site.address()).expect("it listens"), cookies: Vec::new() }
    }

    pub(crate) fn ask(&mut self, method: &str, path: &str, form: &str) -> io::Result<Reply> {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let headers = [("Cookie", cookies.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
        let reply = self.connection.ask(method, path, &headers, form.as_bytes())?;
        for (name, value) in reply.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let _ = name;
            let pair = value.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies.retain(|(known, _)| known != name);
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        Ok(reply)
    }

    pub(crate) fn get(&mut self, path: &str) -> Reply {
        self.ask("GET", path, "").unwrap_or_else(|fault| panic!("GET {path}: {fault}"))
    }

    fn json(&mut self, path: &str) -> serde_json::Value {
        let reply = self.get(path);
        serde_json::from_slice(&reply.body)
            .unwrap_or_else(|_| panic!("{path}: {} {}", reply.status, reply.text()))
    }
}

/// What stands between `before` and `after`.
pub(crate) fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let start = text.find(before)? + before.len();
    let end = text[start..].find(after)?;
    Some(&text[start..start + end])
}

pub(crate) fn migrated_laravel() -> App {
    let app = App::named("laravel-ready");
    app.write("database/database.sqlite", "");
    let migrate =
        regie(app.path()).args(["artisan", "migrate", "--force"]).output().expect("regie can be started");
    assert!(
        migrate.status.success(),
        "{}{}",
        String::from_utf8_lossy(&migrate.stdout),
        String::from_utf8_lossy(&migrate.stderr)
    );
    app.give_away();
    app
}

fn laravel_behaves(site: &Site) {
    let mut visitor = Visitor::new(site);
    assert_eq!(visitor.get("/").status, 200);
    let notes = visitor.get("/notes").text();
    let token =
        between(&notes, "name=\"_token\" value=\"", "\"").unwrap_or_else(|| panic!("a token in {notes}"));
    let form = format!("_token={token}&author=Ada&text=Hello+there");
    let posted = visitor.ask("POST", "/notes", &form).unwrap();
    assert_eq!(posted.status, 302, "{}", posted.text());
    let after = visitor.get("/notes").text();
    assert!(after.contains("Hello there") && after.contains("Thank you."), "{after}");
    assert!(!visitor.get("/notes").text().contains("Thank you."), "a flash message is shown once");
    let refused = visitor.ask("POST", "/notes", "_token=wrong&author=Eve&text=x").unwrap();
    assert_eq!(refused.status, 419);
    assert_eq!(visitor.json("/notes/1")["author"], "Ada");
    assert_eq!(visitor.get("/notes/999").status, 404);
    assert_eq!(visitor.get("/stream").text(), "piece 1\npiece 2\npiece 3\n");
    let download = visitor.get("/download");
    assert!(download.header("content-disposition").starts_with("attachment"), "{:?}", download.headers);
    assert!(download.text().contains("A Laravel application"), "{}", download.text());
    assert_eq!(visitor.get("/boom").status, 500);
    assert!(visitor.get("/dd").text().contains("dumped"));
    let json = visitor.json("/json?a=1&b%5B%5D=2");
    assert_eq!(json["query"], serde_json::json!({"a": "1", "b": ["2"]}));
    assert_eq!(visitor.get("/robots.txt").status, 200);
}

/// Visitors in turn: nobody ever sees anybody else's name.
fn nobody_is_mixed_up(site: &Site, rounds: usize) {
    let mut visitors: Vec<Visitor> = (0..4).map(|_| Visitor::new(site)).collect();
    for (number, visitor) in visitors.iter_mut().enumerate() {
        assert_eq!(visitor.json(&format!("/me?name=visitor-{number}"))["name"], format!("visitor-{number}"));
    }
    for round in 0..rounds {
        for (number, visitor) in visitors.iter_mut().enumerate() {
            let me = visitor.json("/me");
            assert_eq!(me["name"], format!("visitor-{number}"), "round {round}");
        }
        let stranger = Visitor::new(site).json("/me");
        assert!(stranger["name"].is_null(), "a stranger in round {round}: {stranger}");
    }
}

#[test]
fn laravel_in_classic_mode() {
    let app = migrated_laravel();
    let site = Site::up(app.path(), "[php.web]\nmode = \"classic\"\nworkers = 2\n");
    laravel_behaves(&site);
    nobody_is_mixed_up(&site, 5);
}

#[test]
fn laravel_in_worker_mode() {
    let app = migrated_laravel();
    let config = "[php.web]\nmode = \"worker\"\nworkers = 2\n";
    let site = Site::up(app.path(), config);
    assert!(site.printed().contains("worker mode"), "{}", site.printed());
    laravel_behaves(&site);
    nobody_is_mixed_up(&site, 50);
    let mut served = BTreeSet::new();
    let mut visitor = Visitor::new(&site);
    for _ in 0..10 {
        let json = visitor.json("/json");
        served.insert((json["pid"].as_i64(), json["worker"].as_i64()));
    }
    assert_eq!(served.len(), 10, "the application stays and counts its requests: {served:?}");
}

/// Nothing that has served a request is in the snapshot: each of many visitors gets a token, a session and an empty form
/// of their own.
fn visitors_are_strangers(site: &Site, count: usize, token_before: &str, untouched: &str) {
    let mut tokens = BTreeSet::new();
    let mut sessions = BTreeSet::new();
    for _ in 0..count {
        let mut visitor = Visitor::new(site);
        let notes = visitor.get("/notes").text();
        tokens.insert(between(&notes, token_before, "\"").unwrap_or_default().to_owned());
        sessions.extend(visitor.cookies.iter().map(|(_, value)| value.clone()));
        assert!(notes.contains(untouched), "nothing of anybody else: {notes}");
        assert!(!notes.contains("Thank you."), "no flashed message: {notes}");
    }
    assert_eq!(tokens.len(), count, "one token for each visitor");
    assert!(sessions.len() >= count);
}

/// What `regie status` says of putting back.
fn put_back(site: &Site) -> serde_json::Value {
    let status = site.regie(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    status["rewind"]["php:web"].clone()
}

#[test]
fn laravel_in_rewind_mode() {
    let app = migrated_laravel();
    let lose = "Route::get('/lose', fn () => proc_nice(1) ? 'lost' : 'kept');\n";
    app.write("routes/web.php", app.read("routes/web.php") + lose);
    app.give_away();
    let site = Site::up(app.path(), "[php.web]\nmode = \"rewind\"\nworkers = 2\n");
    assert!(site.printed().contains("rewind mode"), "{}", site.printed());
    visitors_are_strangers(&site, 1000, "name=\"_token\" value=\"", "name=\"author\" value=\"\"");
    // The last one may be put back only now.
    let figures = put_back(&site);
    let number = |name: &str| figures[name].as_u64().unwrap_or_default();
    assert!(number("requests") >= 998, "{figures}");
    assert!(number("pages_put_back") > number("requests") && number("put_back_us") > 0, "{figures}");
    assert_eq!(figures["replaced_workers"], 0, "{figures}");
    laravel_behaves(&site);
    nobody_is_mixed_up(&site, 20);
    let lost = site.get("/lose").text();
    assert_eq!(lost, "lost");
    eventually("the replaced worker in regie status", || {
        let figures = put_back(&site);
        (figures["replaced_workers"] == 1 && figures["last_replaced_for"] == "nice() was called")
            .then_some(())
    });
    let mut visitor = Visitor::new(&site);
    let pids: BTreeSet<Option<i64>> = (0..20).map(|_| visitor.json("/json")["pid"].as_i64()).collect();
    assert!(pids.len() <= 2, "workers stay: {pids:?}");
}

#[test]
fn symfony_in_rewind_mode() {
    let app = App::named("symfony");
    let site = Site::up(app.path(), "[php.web]\nmode = \"rewind\"\nworkers = 2\n");
    visitors_are_strangers(&site, 1000, "name=\"token\" value=\"", "Nothing yet.");
    symfony_behaves(&site);
    nobody_is_mixed_up(&site, 20);
    let mut visitor = Visitor::new(&site);
    let served: Vec<i64> = (0..8).filter_map(|_| visitor.json("/json")["served"].as_i64()).collect();
    assert_eq!(served, [1; 8], "each request is the kernel's first");
}

/// Each request leaves its visitor's name wherever it can, and says what it has found: of all the services that stay,
/// only the session and the login remember, and only their own visitor.
#[test]
fn laravel_in_worker_mode_forgets_its_visitors() {
    const ROUNDS: usize = 1000;
    let app = migrated_laravel();
    let routes = app.read("routes/web.php") + include_str!("laravel_leaks.php");
    app.write("routes/web.php", routes);
    app.give_away();
    let site = Site::up(app.path(), "[php.web]\nmode = \"worker\"\nworkers = 1\nmax_requests = 0\n");
    let names = ["ada", "bob"];
    let mut visitors = names.map(|_| Visitor::new(&site));
    let mut clean = serde_json::Value::Null;
    let mut own: [Option<(String, String)>; 2] = [None, None];
    for round in 0..ROUNDS {
        for (number, name) in names.iter().enumerate() {
            let mut found = visitors[number].json(&format!("/leaks/{name}"));
            let known = if round == 0 { serde_json::Value::Null } else { (*name).into() };
            for key in ["session", "flash", "user"] {
                assert_eq!(found[key].take(), known, "{key} of {name} in round {round}");
            }
            // Both are made anew at the login, and then stay.
            let [token, id] =
                ["token", "id"].map(|key| found[key].take().as_str().unwrap_or_default().to_owned());
            let kept = own[number].get_or_insert_with(|| (token.clone(), id.clone()));
            assert_eq!(*kept, (token, id), "{name} in round {round}");
            if clean.is_null() {
                clean = found;
            } else {
                assert_eq!(found, clean, "{name} in round {round}");
            }
        }
        if round % 100 == 50 {
            // Neither those whose request ends in its middle leave anything.
            let mut stranger = Visitor::new(&site);
            assert_eq!(stranger.get("/leaks/eve?end=exit").text(), "gone");
            assert_eq!(stranger.get("/leaks/eve?end=error").status, 500);
        }
    }
    assert_ne!(own[0], own[1]);
    assert_eq!(clean["binding"], "of the boot");
    // The framework's middleware is made once, and anew where a service that it holds has been replaced.
    assert_eq!((&clean["kept"], &clean["renewed"]), (&true.into(), &true.into()));
    assert_eq!(clean["shared"], serde_json::Value::Null);
}

/// Changes the routes, its own and another, and says first how they were.
const ROUTES: &str = r#"
Route::get('/route/{who}', function (Request $request, string $who) {
    [$own, $home] = [$request->route(), Route::getRoutes()->getByName('home')];
    $found = [
        'own' => [$own->defaults, $own->wheres, $own->originalParameters()],
        'home' => [$home->uri(), $home->wheres, $home->methods()],
        'link' => route('home'),
        'kept' => $home === Route::getRoutes()->getByName('home'),
        'added' => Route::has('added'),
    ];
    $own->defaults('name', $who)->setParameter('who', 'nobody');
    $home->setUri("home/of/$who")->where('who', $who);
    Route::get("/added/by/$who", fn () => $who)->name('added');

    return response()->json($found);
})->name('route');
"#;

/// Cached routes are kept from one request to the next, and nothing of what a request does to them.
#[test]
fn laravel_in_worker_mode_with_cached_routes() {
    let app = migrated_laravel();
    let routes = app.read("routes/web.php") + ROUTES;
    app.write("routes/web.php", routes);
    let cached = regie(app.path()).args(["artisan", "route:cache"]).output().expect("regie can be started");
    assert!(cached.status.success(), "{}", String::from_utf8_lossy(&cached.stderr));
    app.give_away();
    let site = Site::up(app.path(), "[php.web]\nmode = \"worker\"\nworkers = 1\nmax_requests = 0\n");
    let mut visitor = Visitor::new(&site);
    for round in 0..50 {
        for name in ["ada", "bob"] {
            let found = visitor.json(&format!("/route/{name}"));
            assert_eq!(found["own"], serde_json::json!([[], [], {"who": name}]), "round {round}");
            assert_eq!(found["home"], serde_json::json!(["/", [], ["GET", "HEAD"]]), "round {round}");
            assert_eq!(found["link"], format!("http://{}", site.address()), "round {round}");
            assert_eq!(
                (&found["kept"], &found["added"]),
                (&true.into(), &false.into()),
                "{name} in round {round}"
            );
        }
        assert_eq!(visitor.get("/added/by/ada").status, 404, "round {round}");
        assert_eq!(visitor.get("/").status, 200, "round {round}");
    }
    laravel_behaves(&site);
}

fn symfony_behaves(site: &Site) {
    let mut visitor = Visitor::new(site);
    assert_eq!(visitor.get("/").status, 200);
    assert!(visitor.json("/json?a=1")["pid"].is_number());
    assert_eq!(visitor.get("/boom").status, 500);
    assert!(visitor.get("/stream").status == 200);
    let download = visitor.get("/download");
    assert_eq!(download.status, 200);
    assert!(!download.body.is_empty());
    assert_eq!(visitor.get("/no/such/page").status, 404);
}

#[test]
fn symfony_in_classic_mode() {
    let app = App::named("symfony");
    let site = Site::up(app.path(), "[php.web]\nmode = \"classic\"\nworkers = 2\n");
    symfony_behaves(&site);
    nobody_is_mixed_up(&site, 5);
}

#[test]
fn symfony_in_worker_mode() {
    let app = App::named("symfony");
    let site =
        Site::up(app.path(), "[php.web]\nmode = \"worker\"\nscript = \"public/index.php\"\nworkers = 2\n");
    symfony_behaves(&site);
    nobody_is_mixed_up(&site, 50);
    let mut visitor = Visitor::new(&site);
    let served: Vec<i64> = (0..8).filter_map(|_| visitor.json("/json")["served"].as_i64()).collect();
    assert!(served.iter().any(|count| *count > 2), "the kernel stays: {served:?}");
}
