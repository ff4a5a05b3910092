//! Who may come in, as far as it takes a file, a database or time: the sources of identities, the
//! chain in which they are asked, the threads on which they may block, and the memory of what they
//! said. Shards ask the [`Authority`]; nothing in here touches a session.

mod authority;
mod chain;
mod health;
mod memo;
mod pool;
mod source;

pub use authority::{Authority, Gate, Options, Shards};
pub use chain::{Chain, SourceStatus};
pub use memo::Memo;
pub use source::{Judgement, Remember, Scope, Source};
