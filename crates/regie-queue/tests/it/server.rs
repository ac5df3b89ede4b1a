//! A redis-server of one test's own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use regie_queue::mark::Mark;
use regie_queue::shell::laravel_redis::{LaravelRedis, Settings};
use regie_queue::shell::redis::{Address, Batch, Client, Endpoint};
use regie_resp::Frame;

/// How long a condition may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// Runs until it is dropped. It keeps its data through [`Server::kill`].
pub(crate) struct Server {
    folder: tempfile::TempDir,
    process: Option<Child>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("regie-queue-").tempdir().unwrap();
        let mut server = Self { folder, process: None };
        server.restart();
        server
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    pub(crate) fn restart(&mut self) {
        let process = Command::new("redis-server")
            // With `everysec`, a busy disk holds writes back that were answered, and a kill loses them.
            .args(["--port", "0", "--appendonly", "yes", "--appendfsync", "no", "--save", ""])
            .args(["--unixsocket", self.socket().to_str().unwrap(), "--dir"])
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is missing: apt-get install redis-server");
        self.process = Some(process);
    }

    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint { address: Address::Unix(self.socket()), username: None, password: None, database: 0 }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.endpoint())
    }

    pub(crate) fn driver(&self, mark: u64) -> LaravelRedis {
        LaravelRedis::new(Settings {
            endpoint: self.endpoint(),
            prefix: "app_database_".to_owned(),
            retry_after: Some(Duration::from_secs(90)),
            mark: Mark::from_seed(mark),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

/// One command's answer; asked again while the server starts.
pub(crate) async fn ask(client: &Client, words: &[&str]) -> Frame {
    until("the server answers", async || {
        let mut batch = Batch::new();
        batch.begin(words.len()).words(words);
        client.send(batch).await.ok()?.pop().filter(|frame| !matches!(frame, Frame::Error(_)))
    })
    .await
}

pub(crate) async fn count(client: &Client, words: &[&str]) -> i64 {
    match ask(client, words).await {
        Frame::Integer(count) => count,
        other => panic!("{words:?}: {other:?}"),
    }
}

/// What `probe` gives as soon as it gives something.
pub(crate) async fn until<T>(what: &str, probe: impl AsyncFn() -> Option<T>) -> T {
    until_within(PATIENCE, what, probe).await
}

/// The same, with a patience of its own.
pub(crate) async fn until_within<T>(patience: Duration, what: &str, probe: impl AsyncFn() -> Option<T>) -> T {
    let found = tokio::time::timeout(patience, async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("not within {patience:?}: {what}"))
}

/// A job as the framework pushes it.
pub(crate) fn job(id: usize, tail: &str) -> String {
    format!(
        r#"{{"uuid":"u{id}","displayName":"App\\Jobs\\Count","job":"Illuminate\\Queue\\CallQueuedHandler@call","maxTries":1,"timeout":null,"data":{{"commandName":"App\\Jobs\\Count","command":"O:1"}},"tags":[],"id":"i{id}","attempts":0{tail}}}"#
    )
}

/// Pushes jobs as the framework's push script does.
pub(crate) async fn push(client: &Client, ids: impl IntoIterator<Item = usize>) {
    let ids: Vec<usize> = ids.into_iter().collect();
    for ids in ids.chunks(500) {
        let mut batch = Batch::new();
        for id in ids {
            batch.begin(3).words(["RPUSH", "app_database_queues:default", &job(*id, "")]);
            batch.begin(3).words(["RPUSH", "app_database_queues:default:notify", "1"]);
        }
        for frame in client.send(batch).await.unwrap() {
            assert!(matches!(frame, Frame::Integer(_)), "{frame:?}");
        }
    }
}
