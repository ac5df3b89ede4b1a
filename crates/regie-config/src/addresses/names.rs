//! The variables in which applications name addresses, and what stands behind each kind of service.

use super::StoreAddress;
use super::url::{Url, host_and_port};
use crate::dotenv::{DotEnv, Variables};
use crate::values::Framework;

/// A kind of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Store,
    Mysql,
    Postgres,
    OtherDatabase,
    Mail,
    Memcached,
    Queue,
    Search,
    Objects,
    Other,
}

impl Service {
    pub(super) const fn default_port(self) -> Option<u16> {
        Some(match self {
            Self::Store => 6379,
            Self::Mysql => 3306,
            Self::Postgres => 5432,
            Self::Mail => 25,
            Self::Memcached => 11211,
            Self::Queue => 5672,
            Self::OtherDatabase | Self::Search | Self::Objects | Self::Other => return None,
        })
    }

    pub(super) const fn article(self) -> &'static str {
        match self {
            Self::Store => "a Redis",
            Self::Mysql => "a MariaDB or MySQL",
            Self::Postgres => "a PostgreSQL",
            Self::OtherDatabase => "the database",
            Self::Mail => "a mail server",
            Self::Memcached => "a memcached",
            Self::Queue => "a RabbitMQ",
            Self::Search => "the search server",
            Self::Objects => "the object store",
            Self::Other => "the service",
        }
    }

    pub(super) const fn ways_out(self) -> &'static [&'static str] {
        match self {
            Self::Store => &["[store] url = \"redis://…\" for a real Redis"],
            Self::Mysql => &["a [program.mariadb] section that starts one"],
            Self::Postgres => &["a [program.postgres] section that starts one"],
            Self::Mail => &["the log mailer (MAIL_MAILER=log, MAILER_DSN=null://null)"],
            Self::Memcached => &["another cache in the application's settings"],
            _ => &[],
        }
    }

    fn of_scheme(scheme: &str) -> Option<Self> {
        Some(match scheme.to_ascii_lowercase().as_str() {
            "redis" | "rediss" | "valkey" | "valkeys" => Self::Store,
            "mysql" | "mysql2" | "mysqli" | "pdo-mysql" | "mariadb" => Self::Mysql,
            "pgsql" | "postgres" | "postgresql" | "postgresql+advisory" | "pdo-pgsql" => Self::Postgres,
            "sqlsrv" | "pdo-sqlsrv" | "mongodb" | "oci8" => Self::OtherDatabase,
            "smtp" | "smtps" | "submission" => Self::Mail,
            "memcached" => Self::Memcached,
            "amqp" | "amqps" | "phpamqplib" | "beanstalkd" => Self::Queue,
            "elasticsearch" => Self::Search,
            _ => return None,
        })
    }
}

/// Variables that hold a host, with the one that holds its port, by their usual names.
const HOSTS: [(&str, &str, Service); 17] = [
    ("REDIS_HOST", "REDIS_PORT", Service::Store),
    ("REDIS_CACHE_HOST", "REDIS_CACHE_PORT", Service::Store),
    ("REDIS_QUEUE_HOST", "REDIS_QUEUE_PORT", Service::Store),
    ("REDIS_SESSION_HOST", "REDIS_SESSION_PORT", Service::Store),
    ("WP_REDIS_HOST", "WP_REDIS_PORT", Service::Store),
    ("DB_HOST", "DB_PORT", Service::Mysql),
    ("DB_HOST_READ", "DB_PORT", Service::Mysql),
    ("DB_HOST_WRITE", "DB_PORT", Service::Mysql),
    ("DATABASE_HOST", "DATABASE_PORT", Service::Mysql),
    ("MYSQL_HOST", "MYSQL_PORT", Service::Mysql),
    ("POSTGRES_HOST", "POSTGRES_PORT", Service::Postgres),
    ("WORDPRESS_DB_HOST", "WORDPRESS_DB_PORT", Service::Mysql),
    ("MAIL_HOST", "MAIL_PORT", Service::Mail),
    ("MAILER_HOST", "MAILER_PORT", Service::Mail),
    ("MEMCACHED_HOST", "MEMCACHED_PORT", Service::Memcached),
    ("RABBITMQ_HOST", "RABBITMQ_PORT", Service::Queue),
    ("ELASTICSEARCH_HOST", "ELASTICSEARCH_PORT", Service::Search),
];

/// Variables with a web address whose host may be a container.
const WEB: [(&str, Service); 8] = [
    ("MEILISEARCH_HOST", Service::Search),
    ("MEILISEARCH_URL", Service::Search),
    ("ELASTICSEARCH_URL", Service::Search),
    ("ELASTICSEARCH_HOST", Service::Search),
    ("TYPESENSE_URL", Service::Search),
    ("AWS_ENDPOINT", Service::Objects),
    ("MERCURE_URL", Service::Other),
    ("GOTENBERG_URL", Service::Other),
];

/// Variables that are read from the real environment too; the rest only where a file of the application has them,
/// since a shell's environment is full of other people's addresses.
const URLS: [&str; 9] = [
    "REDIS_URL",
    "DATABASE_URL",
    "DB_URL",
    "MAILER_DSN",
    "MAIL_URL",
    "MESSENGER_TRANSPORT_DSN",
    "LOCK_DSN",
    "REDIS_DSN",
    "MEMCACHED_DSN",
];

/// An address that the application names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) variable: String,
    pub(super) service: Service,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// Whether the application's settings use the service.
    pub(super) used: bool,
    form: Form,
}

/// How the address is written, which says how it is written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// A host, with its port in a variable of its own.
    Host { port_variable: &'static str },
    /// Host and port in one, without a scheme.
    HostAndPort,
    /// A URL or DSN.
    Url(String),
}

/// Every address that `env` names, by variable.
pub(super) fn all(env: &DotEnv, framework: Framework) -> Vec<Named> {
    let mut all = Vec::new();
    for (variable, port_variable, service) in HOSTS {
        let Some(value) = env.get(variable).filter(|value| is_host(value)) else { continue };
        let (host, inline_port) = host_and_port(value);
        let form = if inline_port.is_some() { Form::HostAndPort } else { Form::Host { port_variable } };
        let port = inline_port.or_else(|| env.get(port_variable).and_then(|port| port.trim().parse().ok()));
        let service = if service == Service::Mysql { database(env) } else { service };
        let used = is_used(service, variable, env, framework);
        all.push(Named { variable: variable.to_owned(), service, host, port, used, form });
    }
    all.extend(unnamed_redis(env, framework));
    let mut urls: Vec<&str> = URLS.into_iter().filter(|name| env.get(name).is_some()).collect();
    urls.extend(env.from_files().map(|(name, _)| name).filter(|name| !URLS.contains(name)));
    for variable in urls {
        let Some((value, url)) = env.get(variable).and_then(|value| Some((value, Url::parse(value)?))) else {
            continue;
        };
        let web = WEB.iter().find(|(name, _)| *name == variable && url.scheme().starts_with("http"));
        let Some(service) = Service::of_scheme(url.scheme()).or(web.map(|(_, service)| *service)) else {
            continue;
        };
        let (host, port) = url.host();
        // `smtp://default` and `failover://` are words of the framework, not hosts.
        if host == "default" {
            continue;
        }
        let used = is_used(service, variable, env, framework);
        all.push(Named {
            variable: variable.to_owned(),
            service,
            host,
            port,
            used,
            form: Form::Url(value.to_owned()),
        });
    }
    all
}

/// Laravel's own configuration names 127.0.0.1 where `.env` names no Redis but its drivers use one.
fn unnamed_redis(env: &DotEnv, framework: Framework) -> Option<Named> {
    let named = ["REDIS_HOST", "REDIS_URL"].iter().any(|name| env.get(name).is_some());
    let used = framework == Framework::Laravel && is_used(Service::Store, "REDIS_HOST", env, framework);
    (used && !named).then(|| Named {
        variable: "REDIS_HOST".to_owned(),
        service: Service::Store,
        host: "127.0.0.1".to_owned(),
        port: env.get("REDIS_PORT").and_then(|port| port.trim().parse().ok()),
        used,
        form: Form::Host { port_variable: "REDIS_PORT" },
    })
}

/// Whether a value of a `…_HOST` variable is a host and not empty, a socket's path, a URL or a word for nothing.
fn is_host(value: &str) -> bool {
    !value.is_empty()
        && !value.contains(['/', ' ', ',', '$', '{'])
        && !matches!(value, "null" | "false" | "none")
}

/// What Laravel's `DB_CONNECTION` names.
fn database(env: &DotEnv) -> Service {
    match env.get("DB_CONNECTION").or_else(|| env.get("DB_DRIVER")).unwrap_or_default() {
        "pgsql" | "postgres" | "pdo_pgsql" => Service::Postgres,
        "sqlsrv" | "mongodb" | "oracle" => Service::OtherDatabase,
        _ => Service::Mysql,
    }
}

/// Laravel's skeleton names every service in `.env`, used or not; its driver variables tell which are.
fn is_used(service: Service, variable: &str, env: &DotEnv, framework: Framework) -> bool {
    if framework != Framework::Laravel {
        return true;
    }
    let says = |names: &[&str], words: &[&str]| {
        names.iter().any(|name| {
            env.get(name).is_some_and(|value| words.contains(&value.to_ascii_lowercase().as_str()))
        })
    };
    const DRIVERS: [&str; 7] = [
        "CACHE_DRIVER",
        "CACHE_STORE",
        "SESSION_DRIVER",
        "QUEUE_CONNECTION",
        "QUEUE_DRIVER",
        "BROADCAST_DRIVER",
        "BROADCAST_CONNECTION",
    ];
    match service {
        Service::Store => says(&DRIVERS, &["redis"]),
        Service::Memcached => says(&DRIVERS, &["memcached"]),
        Service::Mail => !says(&["MAIL_MAILER", "MAIL_DRIVER"], &["log", "array", "sendmail", "mail"]),
        Service::Mysql | Service::Postgres => variable != "DB_HOST" || !says(&["DB_CONNECTION"], &["sqlite"]),
        _ => true,
    }
}

impl Named {
    /// A database's host that is written in a file instead of a variable.
    pub(super) fn written(text: &str) -> Self {
        let (host, port) = host_and_port(text);
        let (service, form) = (Service::Mysql, Form::HostAndPort);
        Self { variable: "DB_HOST".to_owned(), service, host, port, used: true, form }
    }

    /// The host, with the port where it is not the service's usual one.
    pub(super) fn shown(&self) -> String {
        match self.port.filter(|port| Some(*port) != self.service.default_port()) {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// Writes the variables that lead to another host.
    pub(super) fn point_to(&self, host: &str, port: Option<u16>, out: &mut Variables) {
        let (name, value) = match &self.form {
            Form::Host { port_variable } => {
                if let Some(port) = port {
                    out.insert((*port_variable).to_owned(), port.to_string());
                }
                (self.variable.clone(), host.to_owned())
            }
            Form::HostAndPort => match port.or(self.port) {
                Some(port) => (self.variable.clone(), format!("{host}:{port}")),
                None => (self.variable.clone(), host.to_owned()),
            },
            Form::Url(text) => {
                let Some(url) = Url::parse(text) else { return };
                (self.variable.clone(), url.with_host(host, port))
            }
        };
        out.insert(name, value);
    }

    /// Writes the variables that lead to the store, its login included. What the application says about TLS and
    /// users of the Redis it had before does not hold for the store.
    pub(super) fn point_to_store(
        &self,
        store: &StoreAddress,
        env: &DotEnv,
        framework: Framework,
        out: &mut Variables,
    ) {
        if let Form::Url(text) = &self.form {
            let Some(url) = Url::parse(text) else { return };
            let valkey = url.scheme().to_ascii_lowercase().starts_with("valkey");
            let scheme = match (valkey, store.tls) {
                (false, false) => "redis",
                (false, true) => "rediss",
                (true, false) => "valkey",
                (true, true) => "valkeys",
            };
            let led = if store.nodes.is_empty() || framework != Framework::Symfony {
                url.led_to(scheme, store)
            } else if self.variable.contains("MESSENGER") || self.variable.contains("TRANSPORT") {
                url.led_to_nodes(scheme, store)
            } else {
                url.led_to_cluster(scheme, store)
            };
            out.insert(self.variable.clone(), led);
            return;
        }
        let prefix = self.variable.trim_end_matches("HOST");
        let scheme = format!("{prefix}SCHEME");
        let says_scheme = env.get(&scheme).is_some();
        // Where no variable says the scheme, phpredis takes it as a part of the host.
        let host =
            if store.tls && !says_scheme { format!("tls://{}", store.host) } else { store.host.clone() };
        self.point_to(&host, Some(store.port), out);
        // Laravel reads the word null as nothing.
        let nothing = if framework == Framework::Laravel { "null" } else { "" };
        let password = store.password.as_ref().map_or(nothing, |password| password.reveal());
        out.insert(format!("{prefix}PASSWORD"), password.to_owned());
        let user = format!("{prefix}USERNAME");
        if store.username.is_some() || env.get(&user).is_some() {
            out.insert(user, store.username.as_deref().unwrap_or(nothing).to_owned());
        }
        if says_scheme {
            out.insert(scheme, if store.tls { "tls" } else { "tcp" }.to_owned());
        }
    }
}
