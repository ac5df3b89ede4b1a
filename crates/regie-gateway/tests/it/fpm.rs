//! Debian's php-fpm behind the gateway, in place of workers of our own.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use regie_pool::PoolSettings;

use crate::client::{Connection, get, post};
use crate::fixture::{Alone, Running, gateway, wait_for};

struct Fpm {
    child: Child,
    dir: tempfile::TempDir,
}

impl Fpm {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
        let config = format!(
            "[global]\nerror_log = {}\ndaemonize = no\n[www]\nlisten = {}\nuser = {user}\npm = static\n\
             pm.max_children = 2\nphp_admin_value[post_max_size] = 300M\nphp_admin_value[upload_max_filesize] = 300M\n",
            at("fpm.log"),
            at("fpm.sock")
        );
        std::fs::write(dir.path().join("fpm.conf"), config).unwrap();
        let program = ["/usr/sbin/php-fpm8.2", "/usr/sbin/php-fpm8.4", "/usr/sbin/php-fpm"]
            .into_iter()
            .find(|path| std::path::Path::new(path).exists())
            .expect("this test needs php-fpm: apt-get install php-fpm");
        let child = Command::new(program)
            .args(["-R", "-y", &at("fpm.conf")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("this test needs php-fpm: apt-get install php-fpm");
        let fpm = Self { child, dir };
        wait_for("php-fpm", || UnixStream::connect(fpm.dir.path().join("fpm.sock")).ok());
        fpm
    }

    fn gateway(&self, files: &[(&str, &str)]) -> Running {
        let address = format!("unix:{}", self.dir.path().join("fpm.sock").display());
        gateway(files, |settings| {
            settings.front_controller = Some("/index.php".into());
            settings.pool =
                Some(PoolSettings { workers: Some(2), ..PoolSettings::new(address.parse().unwrap()) });
        })
    }
}

impl Drop for Fpm {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            nix::sys::signal::Signal::SIGTERM,
        );
        let _ = self.child.wait();
    }
}

#[test]
fn a_gateway_is_ready_as_long_as_php_fpm_is_there() {
    let fpm = Fpm::start();
    let running = fpm.gateway(&[("index.php", "<?php echo 'fine';")]);
    let ready = || get(running.status, "/readyz", "").status;
    assert_eq!(get(running.address, "/", "").text(), "fine");
    assert_eq!(ready(), 200);
    drop(fpm);
    assert_eq!(ready(), 503);
}

#[test]
fn php_is_served_by_php_fpm() {
    let fpm = Fpm::start();
    let running = fpm.gateway(&[
        ("index.php", "<?php http_response_code(201); header('X-A: b'); echo $_SERVER['REQUEST_URI'], '|', $_SERVER['SCRIPT_NAME'];"),
        ("info.php", "<?php echo $_SERVER['PATH_INFO'] ?? '-', '|', $_GET['a'] ?? '-', '|', $_POST['b'] ?? '-';"),
        ("big.php", "<?php header('Content-Type: application/octet-stream'); for ($i = 0; $i < 100; $i++) { echo str_repeat('x', 100000); flush(); }"),
        ("fatal.php", "<?php header('X-A: b'); nothing();"),
    ]);
    let address = running.address;
    let answer = get(address, "/users/1?x", "");
    assert_eq!(
        (answer.status, answer.header("x-a"), answer.text()),
        (201, Some("b"), "/users/1?x|/index.php")
    );
    assert_eq!(get(address, "/info.php/rest?a=1", "").text(), "/rest|1|-");
    let mut form = Connection::open(address);
    let answer = form.ask(
        "POST /info.php HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\nb=2",
    );
    assert_eq!(answer.text(), "-|-|2");
    assert_eq!(get(address, "/big.php", "").body.len(), 10_000_000);
    assert_eq!(get(address, "/fatal.php", "").status, 500);
    let clients: Vec<_> = (0..16)
        .map(|_| {
            std::thread::spawn(move || (0..30).for_each(|_| assert_eq!(get(address, "/", "").status, 201)))
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn a_large_upload_needs_little_memory() {
    const SIZE: usize = 200 * 1_024 * 1_024;
    let fpm = Fpm::start();
    let root = tempfile::tempdir().unwrap();
    let script = "<?php $n = 0; $f = fopen('php://input', 'r'); while (!feof($f)) { $n += strlen(fread($f, 65536)); } echo $n;";
    std::fs::write(root.path().join("index.php"), script).unwrap();
    let address = format!("unix:{}", fpm.dir.path().join("fpm.sock").display());
    let alone = Alone::start(root.path(), &["--fastcgi", &address, "--workers", "2"]);
    assert_eq!(post(alone.address, "/", b"warm").text(), "4");
    let before = alone.resident();
    assert_eq!(upload(alone.address, SIZE), SIZE.to_string());
    let grown = alone.resident().saturating_sub(before);
    assert!(grown < 16 * 1_024 * 1_024, "memory grew by {grown} bytes");
}

fn upload(address: SocketAddr, size: usize) -> String {
    let mut connection = Connection::open(address);
    connection.send(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n"));
    let piece = vec![b'x'; 64 * 1_024];
    for _ in 0..size / piece.len() {
        connection.send(&piece);
    }
    connection.response(false).unwrap().text().to_owned()
}
