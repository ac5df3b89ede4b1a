//! Rewind mode, which Laravel and Symfony have in production unless something else is written: it answers as classic mode
//! does, whatever requests come in whatever order; and an application that is not made for it is served in classic mode.

use std::net::TcpListener;

use regie_e2e::{App, Reply, Site, eventually};

use crate::frameworks::{Visitor, between, migrated_laravel};

const STEPS: usize = 160;
const VISITORS: usize = 3;

/// Numbers that a seed decides (splitmix64).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap()
    }
}

/// One site with its visitors, each of which remembers the token of the form that was last shown.
struct Side<'a> {
    site: &'a Site,
    visitors: Vec<(Visitor, String)>,
}

impl<'a> Side<'a> {
    fn new(site: &'a Site) -> Self {
        let visitors = (0..VISITORS).map(|_| (Visitor::new(site), String::new())).collect();
        Self { site, visitors }
    }

    /// What the visitor sees, without what is random or belongs to one process.
    fn ask(&mut self, number: usize, action: &str, token_before: &str) -> String {
        let (visitor, token) = &mut self.visitors[number];
        let (path, form) = action.split_once(' ').unwrap_or((action, ""));
        let (method, form) =
            if form.is_empty() { ("GET", String::new()) } else { ("POST", form.replace("{token}", token)) };
        let reply = visitor.ask(method, path, &form).unwrap_or_else(|fault| {
            panic!("{method} {path}: {fault}");
        });
        let text = reply.text();
        if let Some(found) = between(&text, token_before, "\"") {
            found.clone_into(token);
        }
        self.what_counts(&reply, &self.visitors[number].1)
    }

    fn what_counts(&self, reply: &Reply, token: &str) -> String {
        let mut text = reply.text().replace(&self.site.address().to_string(), "HOST");
        if !token.is_empty() {
            text = text.replace(token, "TOKEN");
        }
        // A process's number, and one that a dump is given by chance.
        for (before, after, shown) in
            [("\"pid\":", ",", "\"pid\":"), ("\"pid\":", "}", "\"pid\":"), ("id=sf-dump-", " ", "sf-dump-")]
        {
            if let Some(number) = between(&text, before, after) {
                text = text.replace(&format!("{shown}{number}"), shown);
            }
        }
        let location = reply.header("location").replace(&self.site.address().to_string(), "HOST");
        let cookies = reply.headers.iter().filter(|(name, _)| name == "set-cookie");
        let names: Vec<&str> = cookies.filter_map(|(_, value)| value.split('=').next()).collect();
        format!("{} {} {location} {names:?}\n{text}", reply.status, reply.header("content-type"))
    }
}

/// Two such applications, one in each mode, are asked the same, and answer the same.
fn compare(app: impl Fn() -> App, actions: &[&str], token_before: &str) {
    const SEED: u64 = 20_261_121;
    let (one, other) = (app(), app());
    let classic = Site::up(one.path(), "[php.web]\nmode = \"classic\"\nworkers = 2\n");
    let rewind = Site::up(other.path(), "[php.web]\nworkers = 2\n");
    let (mut dice, mut sides) = (Dice(SEED), [Side::new(&classic), Side::new(&rewind)]);
    for step in 0..STEPS {
        let (number, action) = (dice.throw(VISITORS), actions[dice.throw(actions.len())]);
        let action = action.replace("{n}", &step.to_string());
        let [expected, found] = sides.each_mut().map(|side| side.ask(number, &action, token_before));
        let same = found.bytes().zip(expected.bytes()).take_while(|(one, other)| one == other).count();
        let tail = |text: &str| text.get(same..).unwrap_or_default().chars().take(500).collect::<String>();
        let what = format!("step {step} of seed {SEED}, visitor {number}: {action}, from byte {same} on");
        assert!(found == expected, "{what}:\n{}\n--- in classic mode:\n{}", tail(&found), tail(&expected));
    }
    assert!(is_in(&rewind, "rewind") && is_in(&classic, "classic"));
}

fn is_in(site: &Site, mode: &str) -> bool {
    let page = site.regie(&["status"]);
    let status = String::from_utf8_lossy(&page.stdout).into_owned();
    let rewinds = ["php:web put back ", "php:web is in rewind mode"].iter().any(|line| status.contains(line));
    rewinds == (mode == "rewind")
}

#[test]
fn laravel_answers_in_rewind_mode_as_in_classic_mode() {
    let app = || {
        let app = migrated_laravel();
        let routes = app.read("routes/web.php") + include_str!("laravel_soil.php");
        app.write("routes/web.php", routes);
        let env = app.read(".env").replace("_DRIVER=file", "_DRIVER=redis") + "REDIS_HOST=redis\n";
        app.write(".env", env);
        app.give_away();
        app
    };
    let actions = [
        "/",
        "/",
        "/notes",
        "/notes",
        "/notes _token={token}&author=Ada&text=Note+{n}",
        "/notes _token={token}&author=Ada&text=",
        "/notes _token=wrong&author=Eve&text=x",
        "/notes/1",
        "/notes/999",
        "/me",
        "/me?name=visitor-{n}",
        "/cache",
        "/json?a={n}&b%5B%5D=2",
        "/download",
        "/boom",
        "/dd",
        "/soil/{n}",
        "/soil/{n}",
        "/soil/{n}",
        "/soil/{n}?end=exit",
        "/soil/{n}?end=error",
        "/soil/{n}?end=memory",
        "/no/such/page",
    ];
    compare(app, &actions, "name=\"_token\" value=\"");
}

#[test]
fn symfony_answers_in_rewind_mode_as_in_classic_mode() {
    let app = || {
        let app = App::named("symfony");
        app.write(".env.local", "APP_ENV=prod\nAPP_SECRET=for-tests-only\n");
        app.give_away();
        app
    };
    let actions = [
        "/",
        "/",
        "/notes",
        "/notes",
        "/notes token={token}&text=Note+{n}",
        "/notes token=wrong&text=x",
        "/me",
        "/me?name=visitor-{n}",
        "/json?a={n}",
        "/download",
        "/boom",
        "/no/such/page",
    ];
    compare(app, &actions, "name=\"token\" value=\"");
}

/// What priming loads is there in each request; and nothing is primed where nobody wants it.
#[test]
fn laravel_is_primed_with_the_paths_that_are_named() {
    const PRIMED: &str = r#"
Route::get('/primed', fn () => response()->json([
    'views' => class_exists(Illuminate\View\Engines\CompilerEngine::class, false),
    'notes' => class_exists(App\Models\Note::class, false),
]));
"#;
    let app = migrated_laravel();
    app.write("routes/web.php", app.read("routes/web.php") + PRIMED);
    app.give_away();
    for (env, views, notes) in [
        ("", true, false),
        ("env = { REGIE_PRIME = \"/notes\" }\n", true, true),
        ("env = { REGIE_PRIME = \"\" }\n", false, false),
    ] {
        let site = Site::up(app.path(), &format!("[php.web]\nworkers = 1\n{env}"));
        let found: serde_json::Value = serde_json::from_slice(&site.get("/primed").body).unwrap();
        assert_eq!(found, serde_json::json!({"views": views, "notes": notes}), "{env}");
        assert!(is_in(&site, "rewind"), "{}", site.printed());
    }
}

/// A provider of the application connects while it boots, as some do.
#[test]
fn laravel_that_connects_while_it_boots_is_served_in_classic_mode_and_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap().to_string();
    let app = migrated_laravel();
    let provider = "app/Providers/AppServiceProvider.php";
    let connects = format!(
        "public function boot()\n    {{\n        $this->app->instance('held', stream_socket_client('tcp://{peer}'));"
    );
    let before = app.read(provider);
    app.write(provider, before.replace("public function boot()\n    {", &connects));
    app.give_away();
    let site = Site::up(app.path(), "[php.web]\nworkers = 2\n");
    let why = format!("a connection to {peer} is open at the checkpoint");
    for _ in 0..5 {
        assert_eq!(site.get("/").status, 200);
    }
    assert!(site.printed().contains(&format!("it is served in classic mode: {why}")), "{}", site.printed());
    let status = site.status("php:web").unwrap_or_default();
    assert!(status["description"].as_str().is_some_and(|said| said.contains(&why)), "{status}");
    let check = String::from_utf8_lossy(&site.regie(&["check"]).stdout).into_owned();
    assert!(check.contains("[php.web] mode") && check.contains(&why), "{check}");
    // Repaired, it is in rewind mode, and nobody need say so.
    app.write(provider, before);
    app.give_away();
    let reload = site.regie(&["reload"]);
    assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
    assert_eq!(site.get("/").status, 200);
    eventually("rewind mode", || is_in(&site, "rewind").then_some(()));
}

/// What a provider finds out while it boots would be every visitor's. The same application is left in rewind mode where what
/// it does is everybody's anyway.
#[test]
fn laravel_that_asks_who_asks_while_it_boots_is_served_in_classic_mode() {
    let app = migrated_laravel();
    let provider = "app/Providers/AppServiceProvider.php";
    let before = app.read(provider);
    let boot = |line: &str| {
        let line = format!("public function boot()\n    {{\n        {line}");
        app.write(provider, before.replace("public function boot()\n    {", &line));
        app.give_away();
    };
    boot(r#"if (request()->isSecure()) { config(["app.name" => "secure"]); }"#);
    let site = Site::up(app.path(), "[php.web]\nworkers = 1\n");
    let cases = [
        (
            r#"if (request()->isSecure()) { config(["app.name" => "secure"]); }"#,
            Some("the request is looked at"),
        ),
        (
            r#"config(["app.name" => $_SERVER["HTTP_HOST"] ?? "none"]);"#,
            Some("AppServiceProvider.php:11 looks at the request"),
        ),
        (
            r#"config(["app.name" => \Illuminate\Support\Facades\DB::table("notes")->count()]);"#,
            Some("the database 'sqlite' is asked"),
        ),
        (
            r#"config(["app.name" => \Illuminate\Support\Facades\Cache::rememberForever("name", fn () => "shop")]);"#,
            Some("the cache is asked for 'name'"),
        ),
        (r#"$later = fn () => $this->app["request"]; // $_GET, and not before somebody asks"#, None),
    ];
    for (line, why) in cases {
        boot(line);
        let reload = site.regie(&["reload"]);
        assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
        eventually(line, || {
            assert_eq!(site.get("/").status, 200, "{line}");
            let status = site.status("php:web").unwrap_or_default();
            let said = status["description"].as_str().unwrap_or_default();
            why.map_or_else(|| is_in(&site, "rewind"), |why| said.contains(why)).then_some(())
        });
    }
}
