//! A checked value on its way from text into a field of the settings, and back.

use std::path::PathBuf;

use super::choice::{
    AclNomatch, AllowAnonymous, Authentication, CertificateNames, ClientCertificates,
    DeniedPublish, ListenerClientCertificates, LogLevel, QueueDrop, TlsVersion,
};
use super::cpus;
use super::listen::ListenUrl;
use crate::base::Network;

/// What a [`Kind`](super::keys::Kind) makes of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Bool(bool),
    Number(u64),
    Text(String),
    Cpus(Vec<u16>),
}

/// A field of the settings. `store` takes only values that the key's kind has let through; a kind
/// that does not fit its field is a mistake in the table, which a test over the table finds.
pub trait Slot {
    fn store(&mut self, value: Value);
    fn load(&self) -> Value;
}

impl Slot for bool {
    fn store(&mut self, value: Value) {
        match value {
            Value::Bool(value) => *self = value,
            other => unfit(&other),
        }
    }

    fn load(&self) -> Value {
        Value::Bool(*self)
    }
}

macro_rules! number_slot {
    ($($number:ty),+) => { $(
        impl Slot for $number {
            fn store(&mut self, value: Value) {
                match value {
                    Value::Number(number) => match <$number>::try_from(number) {
                        Ok(number) => *self = number,
                        Err(_) => unfit(&value),
                    },
                    other => unfit(&other),
                }
            }

            fn load(&self) -> Value {
                Value::Number(*self as u64)
            }
        }
    )+ };
}

number_slot!(u8, u16, u32, u64, usize);

macro_rules! text_slot {
    ($type:ty, |$text:ident| $from:expr, |$this:ident| $to:expr) => {
        impl Slot for $type {
            fn store(&mut self, value: Value) {
                match value {
                    Value::Text($text) => match $from {
                        Some(parsed) => *self = parsed,
                        None => unfit(&Value::Text($text)),
                    },
                    other => unfit(&other),
                }
            }

            fn load(&self) -> Value {
                let $this = self;
                Value::Text($to)
            }
        }
    };
}

text_slot!(String, |text| Some(text.clone()), |this| this.clone());
text_slot!(PathBuf, |text| Some(PathBuf::from(&text)), |this| this
    .display()
    .to_string());
text_slot!(LogLevel, |text| LogLevel::from_word(&text), |this| this
    .word()
    .into());
text_slot!(QueueDrop, |text| QueueDrop::from_word(&text), |this| this
    .word()
    .into());
text_slot!(
    AllowAnonymous,
    |text| AllowAnonymous::from_word(&text),
    |this| this.word().into()
);
text_slot!(AclNomatch, |text| AclNomatch::from_word(&text), |this| this
    .word()
    .into());
text_slot!(
    Authentication,
    |text| Authentication::from_word(&text),
    |this| this.word().into()
);
text_slot!(
    CertificateNames,
    |text| CertificateNames::from_word(&text),
    |this| this.word().into()
);
text_slot!(
    DeniedPublish,
    |text| DeniedPublish::from_word(&text),
    |this| this.word().into()
);
text_slot!(
    ClientCertificates,
    |text| ClientCertificates::from_word(&text),
    |this| this.word().into()
);
text_slot!(
    ListenerClientCertificates,
    |text| ListenerClientCertificates::from_word(&text),
    |this| this.word().into()
);
text_slot!(TlsVersion, |text| TlsVersion::from_word(&text), |this| this
    .word()
    .into());
text_slot!(
    Vec<PathBuf>,
    |text| Some(items(&text).map(PathBuf::from).collect()),
    |this| {
        let paths: Vec<_> = this.iter().map(|path| path.display().to_string()).collect();
        paths.join(",")
    }
);
text_slot!(
    Vec<Network>,
    |text| items(&text).map(|item| item.parse().ok()).collect(),
    |this| {
        let networks: Vec<_> = this.iter().map(Network::to_string).collect();
        networks.join(",")
    }
);
text_slot!(
    Vec<String>,
    |text| Some(items(&text).map(str::to_owned).collect()),
    |this| this.join(",")
);
text_slot!(ListenUrl, |text| text.parse().ok(), |this| this.to_string());

impl Slot for Vec<u16> {
    fn store(&mut self, value: Value) {
        match value {
            Value::Cpus(cpus) => *self = cpus,
            other => unfit(&other),
        }
    }

    fn load(&self) -> Value {
        Value::Cpus(self.clone())
    }
}

impl Value {
    /// As [`Kind::parse`](super::keys::Kind::parse) would read it back, but for units.
    pub fn plain(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::Cpus(cpus) => cpus::format_list(cpus),
        }
    }
}

/// The items of a list with commas between.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

#[cold]
fn unfit(value: &Value) -> ! {
    panic!("the table of keys lets {value:?} through, which its field cannot hold")
}
