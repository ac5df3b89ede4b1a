//! Debian's nginx in front of regie-php, configured as it is for php-fpm.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::pool::{MODES, Pool, php, wait_until};

struct Nginx {
    child: Child,
    url: String,
}

impl Nginx {
    fn start(folder: &Path, pool: &Path, keep: bool) -> Self {
        // Where somebody else has taken the port meanwhile, nginx ends, and is started on another one.
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut child = Self::run(folder, pool, keep, port);
            // It writes this when its sockets are open.
            let pid = || std::fs::read_to_string(folder.join("nginx.pid")).unwrap_or_default();
            let mut is_up = false;
            wait_until(
                "nginx",
                || {
                    is_up = pid().ends_with('\n');
                    is_up || child.try_wait().unwrap().is_some()
                },
                String::new,
            );
            if is_up {
                return Self { child, url: format!("http://127.0.0.1:{port}") };
            }
        }
        panic!("nginx does not start");
    }

    fn run(folder: &Path, pool: &Path, keep: bool, port: u16) -> Child {
        let root = php("").display().to_string();
        let (upstream, connection) = if keep { ("keepalive 4;", "fastcgi_keep_conn on;") } else { ("", "") };
        let text = format!(
            "daemon off; pid {0}/nginx.pid; error_log stderr; worker_processes 1; user root;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; client_body_temp_path {0}/body; fastcgi_temp_path {0}/fastcgi; \
             proxy_temp_path {0}/proxy; scgi_temp_path {0}/scgi; uwsgi_temp_path {0}/uwsgi;\n\
             client_max_body_size 16m;\n\
             upstream php {{ server unix:{1}; {upstream} }}\n\
             server {{ listen 127.0.0.1:{port}; root {root};\n\
             location ~ [^/]\\.php(/|$) {{ fastcgi_split_path_info ^(.+?\\.php)(/.*)$; include /etc/nginx/fastcgi_params;\n\
             fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name; fastcgi_param PATH_INFO $fastcgi_path_info;\n\
             {connection} fastcgi_pass php; }} }} }}\n",
            folder.display(),
            pool.display(),
        );
        let config = folder.join("nginx.conf");
        std::fs::write(&config, text).unwrap();
        Command::new("nginx")
            .args(["-c", config.to_str().unwrap(), "-p", folder.to_str().unwrap(), "-e", "stderr"])
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed (apt-get install nginx-light)")
    }

    fn curl(&self, arguments: &[&str], path: &str) -> String {
        let output = Command::new("curl")
            .args(["-s", "-m", "120", "-w", " [%{http_code}]"])
            .args(arguments)
            .arg(format!("{}{path}", self.url))
            .output()
            .expect("curl is installed (apt-get install curl)");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

#[test]
fn nginx_takes_it_for_php_fpm() {
    for keep in [false, true] {
        let pool = Pool::start(MODES[0], "hello.php", &["--workers", "4"]);
        let folder = tempfile::tempdir().unwrap();
        let nginx = Nginx::start(folder.path(), &pool.socket(), keep);
        for i in 0..30 {
            assert_eq!(
                nginx.curl(&[], &format!("/hello.php?i={i}")),
                format!("Hello {i} [200]"),
                "keep {keep}"
            );
        }
        assert_eq!(
            nginx.curl(&[], "/path-info.php/a/b?c"),
            r#"["path-info.php","/path-info.php","/a/b","/path-info.php/a/b"] [200]"#
        );
        assert_eq!(
            nginx.curl(&["-d", "some body", "-H", "Content-Type: text/plain"], "/echo-body.php"),
            "some body|9 [200]"
        );
        assert_eq!(nginx.curl(&[], "/missing.php"), "File not found.\n [404]");
        assert_eq!(nginx.curl(&[], "/headers.php?i=3"), "made 3 [201]");
        assert_eq!(
            nginx.curl(&["-u", "alice:secret"], "/auth.php"),
            r#"["alice","secret","alice","Basic YWxpY2U6c2VjcmV0"] [200]"#
        );
        let large = folder.path().join("large");
        std::fs::write(&large, vec![b'x'; 1_048_576]).unwrap();
        let data = format!("@{}", large.display());
        let answer = nginx.curl(
            &["--data-binary", &data, "-H", "Content-Type: application/octet-stream"],
            "/large-body.php",
        );
        assert_eq!(answer, "1048576 b561f87202d04959e37588ee05cf5b10 [200]");
        let finish = folder.path().join("finish");
        assert_eq!(nginx.curl(&[], &format!("/finish-request.php?to={}", finish.display())), "seen [200]");
        wait_until("the script after its response", || finish.exists(), || pool.log());
    }
}
