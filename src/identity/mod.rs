//! Who may come in, as far as it takes a file, a database or time: the sources of identities, the
//! chain in which they are asked, the threads on which they may block, and the memory of what they
//! said. Shards ask the [`Authority`]; nothing in here touches a session.

mod authority;
pub mod certificate;
mod chain;
pub mod claims;
pub mod files;
mod fits;
pub mod guard;
mod hashing;
mod health;
mod hearing;
pub mod http;
mod journal;
pub mod jwt;
mod memo;
mod pem;
pub mod pgsql;
pub mod plugin;
mod pool;
mod source;
mod threads;
pub mod users;
mod web;

pub use authority::{Authority, Door, Gate, News, Options, Shards};
pub use chain::{Chain, SourceStatus};
pub use hearing::Ear;
pub use memo::Memo;
pub use source::{Judgement, Reach, Remember, Scope, Source};

#[cfg(test)]
pub(crate) use source::tests::question as test_question;
