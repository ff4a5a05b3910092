//! Settings that are one word out of a few.

use tracing::level_filters::LevelFilter;

/// Declares an enum together with the words that the configuration uses for it.
macro_rules! choice {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// The words in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

choice! {
    /// How much is logged: a level includes those before it.
    LogLevel {
        Off = "off",
        Error = "error",
        Warn = "warn",
        #[default]
        Info = "info",
        Debug = "debug",
        Trace = "trace",
    }
}

impl LogLevel {
    pub fn filter(self) -> LevelFilter {
        match self {
            Self::Off => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

choice! {
    /// Which message makes room when a client's queue is full.
    QueueDrop {
        /// The one that has waited longest goes; the new one is queued.
        #[default]
        Oldest = "oldest",
        /// The new one goes; what waits stays.
        Newest = "newest",
    }
}

choice! {
    /// Whether clients show certificates.
    ClientCertificates {
        /// They are not asked for one.
        #[default]
        None = "none",
        /// A client may show one, which then has to be good.
        Optional = "optional",
        Required = "required",
    }
}

choice! {
    /// As [`ClientCertificates`], for one listener.
    ListenerClientCertificates {
        /// As `tls.client_certificates` says.
        #[default]
        Inherit = "inherit",
        None = "none",
        Optional = "optional",
        Required = "required",
    }
}

choice! {
    /// The oldest version of TLS that is spoken.
    TlsVersion {
        #[default]
        V12 = "1.2",
        V13 = "1.3",
    }
}

choice! {
    /// Who gets in without a user name.
    AllowAnonymous {
        /// Clients whose address is a loopback address, or that come over a unix socket.
        #[default]
        Loopback = "loopback",
        Everybody = "true",
        Nobody = "false",
    }
}

choice! {
    /// What holds where there are access rules and none decides.
    AclNomatch {
        #[default]
        Deny = "deny",
        Allow = "allow",
    }
}

choice! {
    /// What happens to a client that publishes what it may not.
    DeniedPublish {
        /// The message is dropped; v5 clients are told with QoS 1 and 2.
        #[default]
        Drop = "drop",
        /// The connection ends (0x87).
        Disconnect = "disconnect",
    }
}

choice! {
    /// Who is let in on one listener.
    Authentication {
        /// As the keys of `auth` say.
        #[default]
        Inherit = "inherit",
        /// Only who is known to a source, whatever `auth.allow_anonymous` says.
        Required = "required",
        /// Everybody, unasked.
        None = "none",
    }
}

choice! {
    /// Whether a client certificate says who its client is, and by which of its names.
    CertificateNames {
        #[default]
        Off = "off",
        CommonName = "cn",
        Subject = "dn",
        AlternativeName = "san",
    }
}
