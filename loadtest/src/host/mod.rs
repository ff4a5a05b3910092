//! What this host allows, and what a process on it takes.

pub mod doctor;
pub mod limits;
pub mod memory;
pub mod node;
pub mod process;
