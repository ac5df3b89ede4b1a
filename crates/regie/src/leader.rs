//! Which of several machines that share a store does what only one may do.
//!
//! The leader holds a key of the store for [`TERM`] and prolongs it while it lives. When it stops it gives the key back;
//! when it dies, another takes the lead within the term. While the store is away the leader leads to the end of its
//! term, then nobody does: two would be worse than none.
//!
//! A store of Régie's own serves one machine, which always leads.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use regie_config::shell::servers;
use regie_config::store::External;
use regie_queue::shell::redis::{Address, Asked, Batch, Client, Endpoint, Fault};
use regie_resp::Frame;
use tokio::time::Instant;

use crate::output;
use crate::site::Site;
use crate::store;

/// How long the lead holds that nobody prolongs.
const TERM: Duration = Duration::from_secs(60);

/// KEYS the lead; ARGV who asks, the term. Returns whether it is theirs.
const TAKE: &str = r#"
local holder = redis.call('get', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"#;

/// KEYS the lead; ARGV who gives it back.
const GIVE_BACK: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";

/// A claim to the lead.
#[derive(Debug)]
pub(crate) struct Leader {
    shared: Option<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    key: String,
    me: String,
    /// The lead is ours until then.
    until: Option<Instant>,
    trouble: bool,
}

impl Leader {
    /// The claim to what is called `what`, among the machines that serve this application from one store.
    pub(crate) fn new(site: &Site, what: &str) -> io::Result<Self> {
        let Some(external) = store::external(site) else { return Ok(Self { shared: None }) };
        let key = format!("regie:{}:{what}:leader", application(site));
        let (address, username, password) = match external {
            External::One(store) if store.tls => {
                let why = "is spoken to over TLS, which this version does not: the tasks run on this machine whoever else runs them";
                output::warning(format_args!("{}: {why}", store.name));
                return Ok(Self { shared: None });
            }
            External::One(store) => (Address::Tcp(store.host, store.port), store.username, store.password),
            External::Sentinels(sentinels) => {
                let login = (sentinels.username.clone(), sentinels.password.clone());
                (store::master_of(sentinels), login.0, login.1)
            }
            External::Cluster(cluster) => {
                let store = cluster.entered_by(0);
                let (name, key) = (store.name.clone(), key.clone());
                let find = Arc::new(move || servers::holder(&store, key.as_bytes()));
                let address = Address::Asked(Asked { name, is_master: true, find });
                (address, cluster.username, cluster.password)
            }
        };
        let endpoint = Endpoint { address, username, password, database: 0 };
        let host = nix::unistd::gethostname()?;
        Ok(Self {
            shared: Some(Shared {
                client: Client::new(endpoint),
                key,
                me: format!("{}:{}", host.to_string_lossy(), std::process::id()),
                until: None,
                trouble: false,
            }),
        })
    }

    /// Takes or prolongs the lead. Whether it is ours.
    pub(crate) async fn leads(&mut self) -> bool {
        let Some(shared) = &mut self.shared else { return true };
        let asked = Instant::now();
        match shared.eval(TAKE, &[&TERM.as_millis().to_string()]).await {
            Ok(taken) => {
                if std::mem::take(&mut shared.trouble) {
                    output::line("the store that tells who leads answers again");
                }
                shared.until = taken.then(|| asked + TERM);
            }
            Err(fault) => {
                if !std::mem::replace(&mut shared.trouble, true) {
                    output::error(format_args!("the store that tells who leads does not answer: {fault}"));
                }
            }
        }
        shared.until.is_some_and(|until| Instant::now() < until)
    }

    /// Gives the lead back, for another to take at once.
    pub(crate) async fn give_back(&mut self) {
        if let Some(shared) = &mut self.shared
            && shared.until.take().is_some()
        {
            // It ends by itself where the store is away.
            let _ = shared.eval(GIVE_BACK, &[]).await;
        }
    }
}

impl Shared {
    async fn eval(&self, script: &str, arguments: &[&str]) -> Result<bool, Fault> {
        let mut batch = Batch::new();
        batch.begin(5 + arguments.len()).word("EVAL").word(script).word("1").word(&self.key).word(&self.me);
        batch.words(arguments);
        Ok(self.client.one(batch).await? == Frame::Integer(1))
    }
}

/// What the application is called on every machine: its own name, else its folder's.
fn application(site: &Site) -> String {
    let named = site.loaded.dotenv.get("APP_NAME").filter(|name| !name.is_empty()).map(str::to_owned);
    let folder = || site.root().file_name().map(|name| name.to_string_lossy().into_owned());
    named.or_else(folder).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use regie_config::addresses::StoreAddress;
    use regie_e2e::{Redis, within};

    use super::*;

    struct Server(Child);

    impl Drop for Server {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn claim(socket: &std::path::Path, me: &str) -> Leader {
        let endpoint = Endpoint {
            address: Address::Unix(socket.to_owned()),
            username: None,
            password: None,
            database: 0,
        };
        let (client, key, me) =
            (Client::new(endpoint), "regie:shop:schedule:leader".to_owned(), me.to_owned());
        Leader { shared: Some(Shared { client, key, me, until: None, trouble: false }) }
    }

    const KEY: &str = "regie:shop:schedule:leader";
    const LONG: Duration = Duration::from_secs(240);

    /// A claim to the lead that a cluster's nodes keep.
    fn claim_of(nodes: &[Redis], me: &str) -> Leader {
        let places: Vec<_> = nodes.iter().map(|node| ("127.0.0.1".to_owned(), node.port)).collect();
        let store = StoreAddress {
            name: "cluster".to_owned(),
            host: places[0].0.clone(),
            port: places[0].1,
            username: None,
            password: Some(regie_core::Secret::new("secret")),
            tls: false,
            nodes: places,
        };
        let password = store.password.clone();
        let find = Arc::new(move || servers::holder(&store, KEY.as_bytes()));
        let address = Address::Asked(Asked { name: "cluster".to_owned(), is_master: true, find });
        let client = Client::new(Endpoint { address, username: None, password, database: 0 });
        let shared = Shared { client, key: KEY.to_owned(), me: me.to_owned(), until: None, trouble: false };
        Leader { shared: Some(shared) }
    }

    /// The lead is prolonged at the cluster itself, not only to the end of its term.
    async fn prolongs(leader: &mut Leader) {
        let prolonged = async {
            while !leader.leads().await || leader.shared.as_ref().is_some_and(|shared| shared.trouble) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(LONG, prolonged).await.expect("it leads");
    }

    /// Three nodes of a cluster that know each other; the first holds all slots.
    fn cluster() -> [Redis; 3] {
        let lines = "cluster-enabled yes\ncluster-config-file nodes.conf\ncluster-node-timeout 600000\n";
        let nodes = [1, 2, 3].map(|_| Redis::start("secret", lines));
        assert_eq!(nodes[0].says(&["cluster", "addslotsrange", "0", "16383"]), "OK");
        for (index, node) in nodes.iter().enumerate() {
            assert_eq!(node.says(&["cluster", "set-config-epoch", &(index + 1).to_string()]), "OK");
        }
        for node in &nodes[1..] {
            assert_eq!(nodes[0].says(&["cluster", "meet", "127.0.0.1", &node.port.to_string()]), "OK");
        }
        within(LONG, "the nodes know each other", || {
            let knows = |node: &Redis| {
                let info = node.says(&["cluster", "info"]);
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            };
            nodes.iter().all(knows).then_some(())
        });
        nodes
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_lead_goes_with_its_slot_and_with_a_failover() {
        let nodes = cluster();
        let [one, two, three] = &nodes;
        let (mut first, mut second) = (claim_of(&nodes, "a:1"), claim_of(&nodes, "b:2"));
        prolongs(&mut first).await;
        assert!(!second.leads().await);
        assert_eq!(one.says(&["get", KEY]), "a:1");

        let slot = one.says(&["cluster", "keyslot", KEY]);
        let [first_id, second_id] = [one, two].map(|node| node.says(&["cluster", "myid"]));
        assert_eq!(two.says(&["cluster", "setslot", &slot, "importing", &first_id]), "OK");
        assert_eq!(one.says(&["cluster", "setslot", &slot, "migrating", &second_id]), "OK");
        let port = two.port.to_string();
        assert_eq!(one.says(&["migrate", "127.0.0.1", &port, KEY, "0", "60000", "auth", "secret"]), "OK");
        assert!(one.says(&["get", KEY]).starts_with("ASK "), "{}", one.says(&["get", KEY]));
        assert!(first.leads().await);
        assert!(!first.shared.as_ref().unwrap().trouble, "the node that has the key was asked");
        assert!(!second.leads().await);

        for node in [two, one] {
            assert_eq!(node.says(&["cluster", "setslot", &slot, "node", &second_id]), "OK");
        }
        assert!(one.says(&["get", KEY]).starts_with("MOVED "));
        prolongs(&mut first).await;
        assert!(!second.leads().await);

        within(LONG, "the third follows the second", || {
            (three.says(&["cluster", "replicate", &second_id]) == "OK").then_some(())
        });
        within(LONG, "the third has what the second has", || {
            (three.says(&["role"]).contains("connected") && two.says(&["wait", "1", "1000"]) == "1")
                .then_some(())
        });
        assert_eq!(three.says(&["cluster", "failover", "takeover"]), "OK");
        within(LONG, "the second follows the third", || {
            two.says(&["role"]).starts_with("slave").then_some(())
        });
        prolongs(&mut first).await;
        assert_eq!(three.says(&["get", KEY]), "a:1");
        first.give_back().await;
        prolongs(&mut second).await;
        assert_eq!(three.says(&["get", KEY]), "b:2");
    }

    #[tokio::test]
    async fn one_leads_and_the_next_follows() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("redis.sock");
        let server = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(&socket)
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is missing: apt-get install redis-server");
        let server = Server(server);
        let (mut first, mut second) = (claim(&socket, "a:1"), claim(&socket, "b:2"));
        let started = async {
            while !first.leads().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LONG, started).await.unwrap();
        assert!(!second.leads().await);
        assert!(first.leads().await, "it prolongs its own");
        first.give_back().await;
        assert!(second.leads().await);
        assert!(!first.leads().await);
        drop(server);
        assert!(second.leads().await, "its term has not ended");
        assert!(!first.leads().await, "nobody takes the lead without a word from the store");
    }
}
