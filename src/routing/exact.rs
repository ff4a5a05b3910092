//! Texts found by their whole: a table of keys and numbers, nine bytes a place.

use hashbrown::HashTable;

use super::hash::spread;

#[derive(Default)]
pub struct ExactTable(HashTable<Row>);

#[derive(Clone, Copy)]
struct Row {
    key: u32,
    id: u32,
}

impl ExactTable {
    /// The number with this key that `is_it` accepts, which compares the text.
    #[inline]
    pub fn find(&self, key: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.0
            .find(spread(key), |row| row.key == key && is_it(row.id))
            .map(|row| row.id)
    }

    /// True when a number has this key.
    pub fn has(&self, key: u32) -> bool {
        self.0.find(spread(key), |row| row.key == key).is_some()
    }

    pub fn insert(&mut self, key: u32, id: u32) {
        self.0
            .insert_unique(spread(key), Row { key, id }, |row| spread(row.key));
    }

    pub fn remove(&mut self, key: u32, id: u32) {
        if let Ok(entry) = self.0.find_entry(spread(key), |row| row.id == id) {
            entry.remove();
        }
        if self.0.len() * 4 < self.0.capacity() {
            self.0.shrink_to(self.0.len() * 2, |row| spread(row.key));
        }
    }

    pub fn bytes(&self) -> usize {
        self.0.allocation_size()
    }
}
