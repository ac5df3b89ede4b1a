//! Values that are one of a few words.

/// Declares an enum that is written as one of a few words.
macro_rules! words {
    (
        $(#[$meta:meta])*
        $name:ident { $( $(#[doc = $doc:literal])+ $variant:ident = $word:literal, )+ }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        pub enum $name {
            $( $(#[doc = $doc])+ #[serde(rename = $word)] $variant, )+
        }

        impl $name {
            /// Every word.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::schema::Setting for $name {
            fn kind() -> String {
                format!("one of {}", Self::ALL.iter().map(|w| w.as_str()).collect::<Vec<_>>().join(", "))
            }

            fn read(
                node: &$crate::document::Node,
                reader: &mut $crate::schema::Reader<'_>,
            ) -> Option<Self> {
                let kind = Self::kind();
                let text = reader.text(node, &kind)?;
                let found = Self::ALL.iter().find(|word| word.as_str() == text);
                if found.is_none() {
                    let shown = reader.quote(&text);
                    let fix = $crate::schema::did_you_mean(&text, Self::ALL.iter().map(|w| w.as_str()));
                    reader.fault(&node.place, format!("expects {kind}, found {shown}"), fix);
                }
                found.copied()
            }

            fn show(&self) -> String {
                format!("\"{}\"", self.as_str())
            }
        }
    };
}

words! {
    /// Whether faults are shown and changes seen at once, or speed and safety come first.
    AppEnv {
        /// Changes are seen at once; logs go to the terminal.
        Development = "development",
        /// Code is taken as it was at start; debug mode is refused.
        Production = "production",
    }
}

words! {
    /// The framework of an application, which decides its document root and front controller.
    Framework {
        /// Laravel: `artisan` and `public/index.php`.
        Laravel = "laravel",
        /// Symfony: `bin/console` and `public/index.php`.
        Symfony = "symfony",
        /// WordPress: `wp-load.php` and permalinks through `index.php`.
        Wordpress = "wordpress",
        /// A folder of PHP files.
        Plain = "plain",
    }
}

words! {
    /// How a pool runs PHP.
    Mode {
        /// A full PHP request per HTTP request, as in php-fpm.
        Classic = "classic",
        /// The application boots once and handles requests in a loop.
        Worker = "worker",
        /// The application boots once and memory is put back after each request.
        Rewind = "rewind",
    }
}

words! {
    /// What happens when a scheduled task was due while nobody looked.
    MissedRun {
        /// Its next time is its next time.
        Skip = "skip",
        /// It runs once, at the next start.
        Run = "run",
    }
}

words! {
    /// What becomes of laravel/horizon where it is installed.
    HorizonUse {
        /// It runs, and its queues are left to it.
        Beside = "beside",
        /// Its supervisors are groups of workers.
        Replace = "replace",
    }
}

words! {
    /// The form of the access log.
    AccessLog {
        /// No access log.
        Off = "off",
        /// The combined format of Apache and nginx, with the request id at its end.
        Combined = "combined",
        /// One JSON object per line.
        Json = "json",
    }
}

words! {
    /// A coding in which responses are compressed.
    Coding {
        /// Zstandard.
        Zstd = "zstd",
        /// Brotli.
        Br = "br",
        /// Gzip.
        Gzip = "gzip",
    }
}

words! {
    /// What a worker puts back between two requests.
    Reset {
        /// Values changed by `ini_set`.
        Ini = "ini",
        /// The working directory.
        Cwd = "cwd",
        /// The umask.
        Umask = "umask",
        /// The locale.
        Locale = "locale",
        /// The time zone.
        Timezone = "timezone",
        /// Error and exception handlers.
        Handlers = "handlers",
    }
}

words! {
    /// When a program that ended is started again.
    Restart {
        /// Whenever it ends.
        Always = "always",
        /// When it ends with a status that `exit_codes` does not name, or by a signal.
        Unexpected = "unexpected",
        /// Never.
        Never = "never",
    }
}

words! {
    /// When what was written to the store is on the disk.
    Appendfsync {
        /// Before the answer.
        Always = "always",
        /// At most a second later.
        Everysec = "everysec",
        /// When the system gets to it.
        No = "no",
    }
}

words! {
    /// What goes when the store is full.
    MaxmemoryPolicy {
        /// Nothing; writes are refused.
        Noeviction = "noeviction",
        /// The least recently used of all keys.
        AllkeysLru = "allkeys-lru",
        /// The least often used of all keys.
        AllkeysLfu = "allkeys-lfu",
        /// Any key.
        AllkeysRandom = "allkeys-random",
        /// The least recently used of the keys that expire.
        VolatileLru = "volatile-lru",
        /// The least often used of the keys that expire.
        VolatileLfu = "volatile-lfu",
        /// Any key that expires.
        VolatileRandom = "volatile-random",
        /// The key that expires first.
        VolatileTtl = "volatile-ttl",
    }
}

words! {
    /// A signal that asks a program to stop.
    Signal {
        /// Terminate.
        Term = "TERM",
        /// Hang up.
        Hup = "HUP",
        /// Interrupt, as Ctrl-C.
        Int = "INT",
        /// Quit.
        Quit = "QUIT",
        /// Kill, which cannot be caught.
        Kill = "KILL",
        /// User's first.
        Usr1 = "USR1",
        /// User's second.
        Usr2 = "USR2",
    }
}
