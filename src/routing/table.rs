//! A hash table of small rows, one memory access a look-up.
//!
//! Tables of a million rows do not fit a processor's cache: what a look-up costs is the number of
//! cache lines that it waits for. Rows lie in one array and a row is next to where its hash says,
//! so that is one line, where a table with separate tags needs two.

use std::mem;

use crate::base::prefetch;

/// A row of a [`Table`].
pub trait Row: Copy {
    /// What free places hold.
    const FREE: Self;

    fn is_free(&self) -> bool;

    /// Where the row belongs, from the low bits on; keyed with a seed if the network has a say.
    fn hash(&self) -> u32;
}

/// Rows with linear probing; at most three quarters of the places are taken.
pub struct Table<R> {
    /// None, or a power of two.
    places: Box<[R]>,
    len: usize,
}

const PLACES_MIN: usize = 8;

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self {
            places: Box::default(),
            len: 0,
        }
    }
}

impl<R: Row> Table<R> {
    #[inline]
    pub fn find(&self, hash: u32, is_it: impl FnMut(&R) -> bool) -> Option<&R> {
        self.position(hash, is_it).map(|at| &self.places[at])
    }

    #[inline]
    pub fn find_mut(&mut self, hash: u32, is_it: impl Fn(&R) -> bool) -> Option<&mut R> {
        self.position(hash, is_it).map(|at| &mut self.places[at])
    }

    /// Has the place where a row with this hash belongs brought near.
    #[inline]
    pub fn prefetch(&self, hash: u32) {
        if let Some(mask) = self.places.len().checked_sub(1) {
            prefetch(&self.places[hash as usize & mask]);
        }
    }

    /// Adds a row, beside any that is equal.
    pub fn insert(&mut self, row: R) {
        if (self.len + 1) * 4 > self.places.len() * 3 {
            self.resize((self.places.len() * 2).max(PLACES_MIN));
        }
        self.put(row);
    }

    /// Takes out the row that `is_it` accepts; false if there is none.
    pub fn remove(&mut self, hash: u32, is_it: impl Fn(&R) -> bool) -> bool {
        let Some(at) = self.position(hash, is_it) else {
            return false;
        };
        self.close_gap(at);
        self.len -= 1;
        if self.len == 0 {
            self.places = Box::default();
        } else if self.places.len() > PLACES_MIN && self.len * 8 < self.places.len() {
            self.resize(self.places.len() / 4);
        }
        true
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn bytes(&self) -> usize {
        mem::size_of_val(&*self.places)
    }

    #[inline]
    fn position(&self, hash: u32, mut is_it: impl FnMut(&R) -> bool) -> Option<usize> {
        let mask = self.places.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            let row = &self.places[at];
            if row.is_free() {
                return None;
            }
            if is_it(row) {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    /// Moves later rows up, so that none is cut off from where it belongs.
    fn close_gap(&mut self, mut gap: usize) {
        let mask = self.places.len() - 1;
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let row = self.places[at];
            if row.is_free() {
                break;
            }
            let home = row.hash() as usize & mask;
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(gap) & mask {
                self.places[gap] = row;
                gap = at;
            }
        }
        self.places[gap] = R::FREE;
    }

    fn resize(&mut self, places: usize) {
        let places = vec![R::FREE; places.max(PLACES_MIN)].into_boxed_slice();
        let old = mem::replace(&mut self.places, places);
        self.len = 0;
        for row in old.iter().filter(|row| !row.is_free()) {
            self.put(*row);
        }
    }

    fn put(&mut self, row: R) {
        let mask = self.places.len() - 1;
        let mut at = row.hash() as usize & mask;
        while !self.places[at].is_free() {
            at = (at + 1) & mask;
        }
        self.places[at] = row;
        self.len += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy)]
    struct Number(u32);

    impl Row for Number {
        const FREE: Self = Self(u32::MAX);

        fn is_free(&self) -> bool {
            self.0 == u32::MAX
        }

        /// Few hashes, near the end of a small table too, so that runs meet and wrap.
        fn hash(&self) -> u32 {
            self.0 % 7 * 5
        }
    }

    proptest! {
        #[test]
        fn holds_what_a_set_holds(
            changes in prop::collection::vec((0..90_u32, any::<bool>()), 0..300),
        ) {
            let (mut table, mut model) = (Table::default(), BTreeSet::new());
            for (number, add) in changes {
                let hash = Number(number).hash();
                let is_it = |row: &Number| row.0 == number;
                prop_assert_eq!(table.find(hash, is_it).is_some(), model.contains(&number));
                if !add {
                    prop_assert_eq!(table.remove(hash, is_it), model.remove(&number));
                } else if model.insert(number) {
                    table.insert(Number(number));
                }
                prop_assert_eq!(table.is_empty(), model.is_empty());
                for &number in &model {
                    let found = table.find(Number(number).hash(), |row| row.0 == number);
                    prop_assert!(found.is_some());
                }
            }
            for &number in &model {
                prop_assert!(table.remove(Number(number).hash(), |row| row.0 == number));
            }
            prop_assert_eq!(table.bytes(), 0);
        }
    }
}
