//! Texts found by their whole: a table of keys and numbers, eight bytes a place.

use super::table::{Row, Table};
use super::target::NONE;

#[derive(Default)]
pub struct ExactTable(Table<Numbered>);

#[derive(Clone, Copy)]
struct Numbered {
    key: u32,
    id: u32,
}

impl Row for Numbered {
    const FREE: Self = Self { key: 0, id: NONE };

    #[inline]
    fn is_free(&self) -> bool {
        self.id == NONE
    }

    #[inline]
    fn hash(&self) -> u32 {
        self.key
    }
}

impl ExactTable {
    /// The number with this key that `is_it` accepts, which compares the text.
    #[inline]
    pub fn find(&self, key: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let row = self.0.find(key, |row| row.key == key && is_it(row.id));
        row.map(|row| row.id)
    }

    /// Has what a search for this key reads first brought near.
    #[inline]
    pub fn prefetch(&self, key: u32) {
        self.0.prefetch(key);
    }

    /// Gives every number with this key; the caller compares the text.
    #[inline]
    pub fn candidates(&self, key: u32, mut give: impl FnMut(u32)) {
        self.0.find(key, |row| {
            if row.key == key {
                give(row.id);
            }
            false
        });
    }

    /// True when a number has this key.
    pub fn has(&self, key: u32) -> bool {
        self.0.find(key, |row| row.key == key).is_some()
    }

    pub fn insert(&mut self, key: u32, id: u32) {
        self.0.insert(Numbered { key, id });
    }

    pub fn remove(&mut self, key: u32, id: u32) {
        self.0.remove(key, |row| row.id == id);
    }

    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }
}
