//! What a run says: while it goes on, and in the end as a table or as JSON.

mod figure;
mod progress;
mod table;
pub mod text;

pub use figure::{Figure, Report, Section, Value};
pub use progress::Progress;
