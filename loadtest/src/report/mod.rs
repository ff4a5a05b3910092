//! What a run says: while it goes on, and in the end as a table, as JSON or as a page.

mod chart;
pub mod compare;
mod figure;
mod html;
mod screen;
mod table;
pub mod text;
mod timeline;

pub use figure::{Figure, Report, Section, Value};
pub use screen::Screen;
pub use timeline::{Row, Timeline};
