//! A gateway on its own, for benchmarks and for trying things out:
//! `cargo run -p regie-gateway --example serve -- --root DIR --fastcgi unix:/run/php.sock --listen 127.0.0.1:8000`.
#![expect(clippy::print_stderr, reason = "a program for developers")]

use std::error::Error;
use std::sync::Arc;

use regie_gateway::{Gateway, Listener, LogFormat, Logs, Settings, serve};
use regie_pool::PoolSettings;

const USAGE: &str = "serve --root DIR --listen ADDR [--fastcgi ADDR] [--workers N] [--front /index.php] \
                     [--worker-script FILE] [--threads N] [--access-log]";

fn main() -> Result<(), Box<dyn Error>> {
    let mut settings = Settings::new(".");
    let (mut listen, mut threads, mut fastcgi, mut workers) = (None, 1, None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        if flag == "--access-log" {
            settings.access_log = Some(LogFormat::Combined);
            continue;
        }
        let value = arguments.next().ok_or(USAGE)?;
        match flag.as_str() {
            "--root" => settings.root = value.into(),
            "--listen" => listen = Some(value.parse()?),
            "--fastcgi" => fastcgi = Some(value.parse()?),
            "--workers" => workers = Some(value.parse()?),
            "--front" => settings.front_controller = Some(value),
            "--worker-script" => settings.worker_script = Some(value.into()),
            "--threads" => threads = value.parse()?,
            _ => return Err(USAGE.into()),
        }
    }
    settings.pool = fastcgi.map(|address| PoolSettings { workers, ..PoolSettings::new(address) });
    let listener = Listener::bind(listen.ok_or(USAGE)?)?;
    eprintln!("listening on {}", listener.local_addr()?);
    let mut runtime = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        runtime.worker_threads(threads);
    }
    runtime.enable_all().build()?.block_on(async {
        let errors = Arc::new(|line: &[u8]| eprint!("{}", String::from_utf8_lossy(line)));
        let gateway = Arc::new(Gateway::new(settings, Logs::new(Arc::new(|_| {}), errors)));
        let stop = async { drop(tokio::signal::ctrl_c().await) };
        let report = serve(gateway, vec![listener], stop).await?;
        eprintln!("{report:?}");
        Ok(())
    })
}
