//! Debian's php-fpm behind the gateway, in place of workers of our own.

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
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
    wait_for("it to be seen that nobody is there", || (ready() == 503).then_some(()));
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

/// Debian's nginx before the same php-fpm, over the same folder.
struct Nginx {
    child: Child,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Nginx {
    fn start(fpm: &Fpm, root: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Where somebody else has taken the port meanwhile, nginx ends, and is started on another one.
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let mut child = Self::run(dir.path(), port, root, &fpm.dir.path().join("fpm.sock"));
            let is_up = wait_for("nginx", || match child.try_wait().unwrap() {
                Some(_) => Some(false),
                None => is_pid_written(dir.path()).then_some(true),
            });
            if is_up {
                return Self { child, address, _dir: dir };
            }
        }
        panic!("nginx does not start");
    }

    fn run(dir: &Path, port: u16, root: &Path, fpm: &Path) -> Child {
        let config = format!(
            "daemon off; pid {0}/nginx.pid; error_log stderr; worker_processes 1; user root;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; default_type application/octet-stream; client_body_temp_path {0}/body; \
             fastcgi_temp_path {0}/fastcgi; proxy_temp_path {0}/proxy; scgi_temp_path {0}/scgi; uwsgi_temp_path {0}/uwsgi;\n\
             server {{ listen 127.0.0.1:{port}; root {1}; index index.php;\n\
             location / {{ try_files $uri $uri/ /index.php$is_args$args; }}\n\
             location ~ [^/]\\.php(/|$) {{ fastcgi_split_path_info ^(.+?\\.php)(/.*)$; include /etc/nginx/fastcgi_params;\n\
             fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name; fastcgi_param PATH_INFO $fastcgi_path_info;\n\
             fastcgi_pass unix:{2}; }} }} }}\n",
            dir.display(),
            root.display(),
            fpm.display(),
        );
        std::fs::write(dir.join("nginx.conf"), config).unwrap();
        Command::new("nginx")
            .args([
                "-c",
                dir.join("nginx.conf").to_str().unwrap(),
                "-p",
                dir.to_str().unwrap(),
                "-e",
                "stderr",
            ])
            .stderr(Stdio::null())
            .spawn()
            .expect("this test needs nginx: apt-get install nginx-light")
    }
}

/// nginx writes it when its sockets are open.
fn is_pid_written(dir: &Path) -> bool {
    std::fs::read_to_string(dir.join("nginx.pid")).is_ok_and(|pid| pid.ends_with('\n'))
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// Names of files are bytes, and PHP is told those that nginx tells it.
#[test]
fn addresses_that_are_no_utf8_mean_what_they_mean_behind_nginx() {
    const TELL: &str = "<?php foreach (['REQUEST_URI', 'SCRIPT_NAME', 'SCRIPT_FILENAME', 'PATH_INFO', 'QUERY_STRING', 'PHP_SELF'] as $name) { echo $name, '=', bin2hex($_SERVER[$name] ?? ''), ' '; } echo bin2hex($_GET['q'] ?? ''), ' ', bin2hex(__FILE__);";
    let fpm = Fpm::start();
    let running = fpm.gateway(&[("index.php", TELL)]);
    let root = running.root.path().canonicalize().unwrap();
    let at = |name: &[u8]| root.join(OsStr::from_bytes(name));
    std::fs::create_dir(at(b"d\xe9")).unwrap();
    for script in [&b"caf\xe9.php"[..], b"d\xe9/index.php", b"\xff\xfe.php"] {
        std::fs::write(at(script), TELL).unwrap();
    }
    std::fs::write(at(b"caf\xe9.txt"), "Latin-1").unwrap();
    std::fs::write(at("café.txt".as_bytes()), "UTF-8").unwrap();
    let nginx = Nginx::start(&fpm, &root);
    let hex = |text: &[u8]| text.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (path, told) in [
        ("/caf%E9", &b"/caf%E9"[..]),
        ("/caf%E9?q=%E9", b"\xe9"),
        ("/caf%E9.txt", b""),
        ("/caf%C3%A9.txt", b""),
        ("/caf%E9.php", b"/caf\xe9.php"),
        ("/caf%e9.php/caf%E9/%FF%FE?q=%C3", b"/caf\xe9/\xff\xfe"),
        ("/%FF%FE.php", b"/\xff\xfe.php"),
        ("/index.php/caf%E9/%E2%82/x", b"/caf\xe9/\xe2\x82/x"),
        ("/d%E9/", b"/d\xe9/index.php"),
        ("/none%E9/../caf%E9.php", b"/caf\xe9.php"),
        ("/a%C0%AFb", b"/a%C0%AFb"),
        ("/%C0%AE%C0%AE/x", b"/%C0%AE%C0%AE/x"),
        ("/none%E9.txt", b"/none%E9.txt"),
    ] {
        let (ours, theirs) = (get(running.address, path, ""), get(nginx.address, path, ""));
        assert_eq!((ours.status, ours.text()), (theirs.status, theirs.text()), "{path}");
        assert!(ours.text().contains(&hex(told)), "{path}: {}", ours.text());
    }
    assert_eq!(get(running.address, "/caf%E9.txt", "").text(), "Latin-1");
    assert_eq!(get(running.address, "/d%E9", "").status, 301);
    for path in ["/%E9%00", "/%E9/%2e%2e/%2e%2e/x", "/caf%E", "/%E9/../../x"] {
        assert_eq!(
            (get(running.address, path, "").status, get(nginx.address, path, "").status),
            (400, 400),
            "{path}"
        );
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
