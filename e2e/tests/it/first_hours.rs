//! Applications as they come. What a team sees in the first hours must go well.

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt as _;

use regie_e2e::site::regie;
use regie_e2e::{App, Site, eventually};

fn run(app: &App, words: &[&str]) -> String {
    let output = regie(app.path()).args(words).output().expect("regie can be started");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "regie {words:?}: {said}");
    said
}

#[test]
fn a_laravel_application_without_key_and_migration_is_told_the_fix() {
    let app = App::named("laravel-fresh");
    let site = Site::up(app.path(), "[php.web]\nworkers = 2\n");
    let printed = site.printed();
    assert!(printed.contains("Laravel"), "{printed}");
    for fix in ["regie artisan key:generate", "regie artisan migrate"] {
        eventually(fix, || site.printed().contains(fix).then_some(()));
    }
    // The fixes, as they were given.
    run(&app, &["artisan", "key:generate"]);
    if !app.path().join("database/database.sqlite").exists() {
        app.write("database/database.sqlite", "");
    }
    run(&app, &["artisan", "migrate", "--force"]);
    run(&app, &["reload"]);
    let home = site.get("/");
    assert_eq!(home.status, 200, "{}", home.text());
    let notes = site.get("/notes");
    assert_eq!(notes.status, 200, "{}", notes.text());
    assert_eq!(site.get("/.env").status, 404);
}

#[test]
fn a_laravel_application_that_names_docker_hosts_is_told_where_they_lead() {
    let app = App::named("laravel-docker");
    let site = Site::up(app.path(), "[hosts]\nredis = \"127.0.0.9\"\n[php.web]\nworkers = 2\n");
    let printed = site.printed();
    assert!(printed.contains("REDIS_HOST"), "{printed}");
    eventually("a database with nothing behind it is named", || {
        site.printed().contains("DB_HOST").then_some(())
    });
    let addresses: serde_json::Value = serde_json::from_str(&site.get("/addresses").text()).expect("JSON");
    assert_eq!(addresses["redis"], "127.0.0.9:6379");
}

#[test]
fn a_symfony_application_is_served_as_it_is() {
    let app = App::named("symfony");
    let site = Site::up(app.path(), "[php.web]\nworkers = 2\n");
    assert!(site.printed().contains("Symfony"), "{}", site.printed());
    let home = site.get("/");
    assert_eq!(home.status, 200, "{}", home.text());
    assert_eq!(site.get("/json").status, 200);
    assert_eq!(site.get("/composer.json").status, 404);
    assert!(!run(&app, &["console", "list", "--raw"]).is_empty());
}

#[test]
fn a_wordpress_like_site_has_its_permalinks_and_calls_itself() {
    let app = App::named("wordpress-like");
    let site = Site::up(app.path(), "[php.web]\nworkers = 2\n");
    assert!(site.printed().contains("WordPress"), "{}", site.printed());
    for (path, status) in [
        ("/", 200),
        ("/2026/11/hello-world/", 200),
        ("/caf%C3%A9/", 200),
        ("/2026/11/hello-world", 301),
        ("/no-such-page/", 404),
        ("/wp-login.php", 200),
        ("/wp-admin/", 302),
        ("/wp-content/uploads/2026/11/photo.png", 200),
    ] {
        assert_eq!(site.get(path).status, status, "{path}");
    }
    for path in [
        "/wp-content/uploads/2026/11/evil.php",
        "/wp-content/uploads/2026/11/evil.PHP",
        "/wp-config.php",
        "/wp-config.php.bak",
        "/.htaccess",
    ] {
        let reply = site.get(path);
        assert!(!reply.text().to_lowercase().contains("never be served"), "{path}: {}", reply.text());
        assert!(!reply.text().contains("must-never-be-served"), "{path}: {}", reply.text());
    }
    // What its .htaccess asks for.
    let moved = site.get("/shop/a?b");
    assert_eq!((moved.status, moved.header("location")), (301, "/store/a?b"));
    let closed = site.get("/dump.sql.gz");
    assert!(closed.status == 404 && closed.text().contains("nothing at this address"), "{}", closed.text());
    let style = site.get("/wp-content/themes/quiet/style.css");
    assert_eq!(style.header("cache-control"), "max-age=31536000, public");
    let home = site.get("/");
    assert_eq!((home.header("x-frame-options"), home.header("cache-control")), ("SAMEORIGIN", ""));
    // With one of two workers busy asking the site itself, the other one answers.
    let health = site.get("/wp-admin/site-health.php");
    assert!(health.text().contains("loopback ok"), "{}", health.text());
    // The page gives its call 10 ms and hangs up, in which a busy machine may not even have sent it; the next visit calls again.
    eventually("the cron that the site called by itself has run", || {
        assert_eq!(site.get("/?due=1").status, 200);
        let cron: serde_json::Value = serde_json::from_str(&app.read("wp-content/cron.json")).ok()?;
        (cron["ran"].as_u64()? >= 1).then_some(())
    });
}

/// As many small applications come: no framework that anybody knows, and an `.htaccess` file.
#[test]
fn an_htaccess_file_names_the_front_controller() {
    let app = App::empty();
    app.write("index.php", "<?php echo 'front ', $_SERVER['REQUEST_URI'], ' ', $_SERVER['SCRIPT_NAME'];");
    app.write("info.php", "<?php echo 'info';");
    app.write("style.css", "p {}");
    app.write(
        ".htaccess",
        "RewriteEngine on\nRewriteBase /\nRewriteRule ^data/.*$ - [R=404,L]\n\
         RewriteCond %{REQUEST_FILENAME} !-f\nRewriteCond %{REQUEST_FILENAME} !-d\nRewriteRule ^(.*) index.php [PT,L]\n",
    );
    app.write("data/users.php", "<?php echo 'secret';");
    let site = Site::up(app.path(), "");
    for (path, text) in [
        ("/", "front / /index.php"),
        ("/admin/login?a=b", "front /admin/login?a=b /index.php"),
        ("/info.php", "info"),
        ("/style.css", "p {}"),
    ] {
        assert_eq!(site.get(path).text(), text, "{path}");
    }
    assert_eq!(site.get("/data/users.php").status, 404);
    let shown = run(&app, &["check", "--show"]);
    assert!(shown.contains(".htaccess:6"), "{shown}");
}

#[test]
fn a_plain_folder_is_served_and_keeps_its_secrets() {
    let app = App::named("plain");
    // Names in Latin-1, as old sites have them.
    let name = |name: &[u8]| app.path().join(OsStr::from_bytes(name));
    std::fs::write(name(b"caf\xe9.txt"), "menu").unwrap();
    std::fs::write(
        name(b"caf\xe9.php"),
        "<?php echo bin2hex($_SERVER['SCRIPT_NAME'] . $_SERVER['PATH_INFO']);",
    )
    .unwrap();
    std::fs::write(name(b"uploads/caf\xe9.php"), "<?php echo 'must never be served';").unwrap();
    let site = Site::up(app.path(), "[php.web]\nworkers = 2\n");
    for (path, status) in [
        ("/", 200),
        ("/index.php", 200),
        ("/about/", 200),
        ("/shop/cart/", 200),
        ("/docs/", 200),
        ("/path.php/a/b", 200),
        ("/two%20words.php", 200),
        ("/file.txt", 200),
        ("/d%C3%A9j%C3%A0.txt", 200),
        ("/css/site.css", 200),
        ("/caf%E9.txt", 200),
        ("/nope", 404),
        ("/nope%E9", 404),
        ("/caf%E9%00", 400),
        ("/nope.php", 404),
        ("/shop/", 404),
    ] {
        assert_eq!(site.get(path).status, status, "{path}");
    }
    let about = site.get("/about");
    assert!(matches!(about.status, 301 | 302 | 308), "{}", about.status);
    assert!(about.header("location").ends_with("/about/"), "{}", about.header("location"));
    assert!(site.get("/path.php/a/b").text().contains("/a/b"));
    assert_eq!(site.get("/caf%E9.php/%FF").text(), "2f636166e92e7068702fff", "/caf\\xe9.php/\\xff");
    for path in [
        "/uploads/caf%E9.php",
        "/.env",
        "/.hidden",
        "/.htpasswd",
        "/.index.php.swp",
        "/backup.sql",
        "/index.php.bak",
        "/index.php.orig",
        "/index.php~",
        "/composer.json",
        "/package.json",
        "/vendor/lib/tool.php",
        "/node_modules/left/index.js",
        "/uploads/evil.php",
        "/regie.toml",
        "/.regie/run/control.sock",
        "/private/report.txt",
    ] {
        let reply = site.get(path);
        assert!(matches!(reply.status, 403 | 404), "{path}: {}", reply.status);
        assert!(!reply.text().contains("must never be served"), "{path}: {}", reply.text());
        assert!(!reply.text().contains("must-never-be-served"), "{path}: {}", reply.text());
    }
    let mut visits = Vec::new();
    let mut cookie = String::new();
    for _ in 0..3 {
        let reply = site.ask("GET", "/counter.php", &[("Cookie", &cookie)], b"").unwrap();
        if let Some(set) = reply.header("set-cookie").split(';').next().filter(|set| !set.is_empty()) {
            cookie = set.to_owned();
        }
        visits.push(reply.text());
    }
    assert!(visits[0] != visits[1] && visits[1] != visits[2], "a session counts: {visits:?}");
}

/// `regie check` while the site runs: the port is its own.
#[test]
fn a_site_that_runs_does_not_find_its_port_taken() {
    let app = App::empty();
    app.write("index.php", "<?php echo 'hi';");
    app.give_away();
    let site = Site::up(app.path(), "[php.web]\nworkers = 1\n");
    let said = |listen: SocketAddr| {
        app.write("regie.toml", format!("[gateway]\nlisten = [\"{listen}\"]\n[php.web]\nworkers = 1\n"));
        String::from_utf8_lossy(&regie(app.path()).arg("check").output().unwrap().stdout).into_owned()
    };
    let own = said(site.address());
    assert!(own.contains("[php") && !own.contains("is taken"), "{own}");
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let held_at = held.local_addr().unwrap();
    let other = said(held_at);
    assert!(other.contains(&format!("{held_at} is taken")), "{other}");
}
