//! What carries the shards: threads, io_uring executors, mailboxes, clocks, start and end.

mod alarms;
mod broker;
mod certificates;
mod clock;
mod doors;
mod driver;
mod epochs;
mod executor;
mod helm;
mod host;
mod mail;
mod memory;
pub mod mesh;
mod node;
mod options;
mod post;
mod prompt;
mod rehearsal;
mod sys_topics;
mod turns;
mod users;
mod written;

pub use broker::{Broker, Ended, Listening};
pub use driver::Tallies;
pub use mail::{Pauses, Report};
pub use memory::take_small_pages;
pub use rehearsal::{Rehearsal, rehearse};
