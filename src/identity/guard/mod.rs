//! Who is not even asked about: the banned, those who guess, and those who come and go too fast.

mod bans;
mod pace;

pub use bans::{Ban, Bans, Target};
pub use pace::{Pace, PaceOptions};
