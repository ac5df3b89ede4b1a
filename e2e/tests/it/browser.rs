//! The tour, looked at in Chromium.

use std::process::Command;

use regie_e2e::{App, Site, need};

#[test]
fn the_tour_is_shown_by_a_browser() {
    let app = App::named("tour");
    let config = app.read("regie.toml");
    let site = Site::up(app.path(), &config);
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(need("chromium", "chromium"))
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--virtual-time-budget=3000", "--dump-dom"])
        .arg(site.url("/"))
        .output()
        .expect("chromium can be started");
    let page = String::from_utf8_lossy(&output.stdout);
    assert!(page.contains("Régie"), "{page}{}", String::from_utf8_lossy(&output.stderr));
    assert!(page.contains("fpm-fcgi"), "the page says what runs: {page}");
    for path in ["/request.php", "/upload.php", "/stream.php", "/session.php", "/slow.php", "/crash.php"] {
        assert_eq!(site.get(path).status, 200, "{path}");
    }
    for visit in 1..3 {
        let store = site.get("/store.php").text();
        assert!(store.contains(&format!("role=\"status\">{visit}</p>")), "{store}");
        assert!(store.contains("<td>Régie "), "{store}");
    }
}
