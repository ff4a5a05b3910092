//! A table of slots in pages: stable indices, no copying as it grows, memory back as it empties.
//!
//! A `Vec` that has held a million connections keeps their memory for ever, and doubling it copies
//! everything at the worst moment. Pages are freed one by one as their last slot empties, and new
//! entries take the lowest page with room so that the upper ones drain.

use std::collections::BTreeSet;

use super::prefetch::prefetch;

const PAGE: usize = 64;

/// The slots of a page, and nothing beside them: an entry of a cache line's size lies in one line,
/// and 64 of any size fill one of the allocator's sizes where a few bytes more would cost the next.
#[repr(align(64))]
struct Slots<T>([Option<T>; PAGE]);

struct Page<T> {
    /// `None` when no slot is in use.
    slots: Option<Box<Slots<T>>>,
    /// A bit a slot.
    used: u64,
}

/// Slots addressed by `u32`.
pub struct Paged<T> {
    pages: Vec<Page<T>>,
    /// Pages with a free slot, absent ones included.
    roomy: BTreeSet<u32>,
    len: usize,
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Paged {
            pages: Vec::new(),
            roomy: BTreeSet::new(),
            len: 0,
        }
    }
}

impl<T> Paged<T> {
    /// Puts `value` into the lowest page with room; the slot is stable until removed.
    pub fn insert(&mut self, value: T) -> u32 {
        let page_index = match self.roomy.first() {
            Some(&page) => page as usize,
            None => self.pages.len(),
        };
        let free = match self.pages.get(page_index) {
            Some(page) => (!page.used).trailing_zeros() as usize,
            None => 0,
        };
        let slot = (page_index * PAGE + free) as u32;
        self.insert_at(slot, value);
        slot
    }

    /// Puts `value` into `slot`.
    ///
    /// # Panics
    /// When the slot is taken: two owners of one slot is a broken invariant.
    pub fn insert_at(&mut self, slot: u32, value: T) {
        let (page_index, at) = (slot as usize / PAGE, slot as usize % PAGE);
        while self.pages.len() <= page_index {
            self.roomy.insert(self.pages.len() as u32);
            self.pages.push(Page {
                slots: None,
                used: 0,
            });
        }
        let page = &mut self.pages[page_index];
        let empty = || Box::new(Slots([const { None }; PAGE]));
        let slots = &mut page.slots.get_or_insert_with(empty).0;
        assert!(slots[at].is_none(), "slot {slot} is taken");
        slots[at] = Some(value);
        page.used |= 1 << at;
        if page.used == u64::MAX {
            self.roomy.remove(&(page_index as u32));
        }
        self.len += 1;
    }

    /// Empties `slot`.
    pub fn remove(&mut self, slot: u32) -> Option<T> {
        let (page_index, at) = (slot as usize / PAGE, slot as usize % PAGE);
        let page = self.pages.get_mut(page_index)?;
        let value = page.slots.as_mut()?.0[at].take()?;
        if page.used == u64::MAX {
            self.roomy.insert(page_index as u32);
        }
        page.used &= !(1 << at);
        if page.used == 0 {
            page.slots = None;
            self.trim();
        }
        self.len -= 1;
        Some(value)
    }

    /// The value in `slot`.
    #[inline]
    pub fn get(&self, slot: u32) -> Option<&T> {
        let page = self.pages.get(slot as usize / PAGE)?;
        page.slots.as_ref()?.0[slot as usize % PAGE].as_ref()
    }

    /// Has `slot` brought near, used or not.
    #[inline]
    pub fn prefetch(&self, slot: u32) {
        let page = self.pages.get(slot as usize / PAGE);
        if let Some(slots) = page.and_then(|page| page.slots.as_ref()) {
            prefetch(&slots.0[slot as usize % PAGE]);
        }
    }

    /// The value in `slot`, to change.
    #[inline]
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        let page = self.pages.get_mut(slot as usize / PAGE)?;
        page.slots.as_mut()?.0[slot as usize % PAGE].as_mut()
    }

    /// Slots in use.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no slot is in use.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every slot in use from `from` on, in ascending order.
    pub fn iter_from(&self, from: u32) -> impl Iterator<Item = (u32, &T)> {
        let first = from as usize / PAGE;
        self.pages
            .iter()
            .enumerate()
            .skip(first)
            .filter_map(|(i, page)| page.slots.as_ref().map(|slots| (i, slots)))
            .flat_map(|(i, slots)| {
                slots
                    .0
                    .iter()
                    .enumerate()
                    .filter_map(move |(at, v)| v.as_ref().map(|v| ((i * PAGE + at) as u32, v)))
            })
            .filter(move |(slot, _)| *slot >= from)
    }

    fn trim(&mut self) {
        while self.pages.last().is_some_and(|page| page.slots.is_none()) {
            self.pages.pop();
            self.roomy.remove(&(self.pages.len() as u32));
        }
        if self.pages.capacity() > 4 * self.pages.len() + 64 {
            self.pages.shrink_to(2 * self.pages.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_low_slots_first_and_frees_pages() {
        let mut paged = Paged::default();
        for i in 0..1000u32 {
            assert_eq!(paged.insert(i), i);
        }
        for i in 0..1000 {
            assert_eq!(paged.get(i), Some(&i));
        }
        assert_eq!(paged.remove(5), Some(5));
        assert_eq!(paged.remove(700), Some(700));
        assert_eq!(paged.insert(1), 5);
        assert_eq!(paged.iter_from(690).count(), 309);
        for i in 0..1000 {
            paged.remove(i);
        }
        assert!(paged.is_empty() && paged.pages.is_empty() && paged.roomy.is_empty());
    }

    #[test]
    fn takes_a_slot_that_the_caller_chose() {
        let mut paged = Paged::default();
        paged.insert_at(130, 'a');
        assert_eq!(paged.insert('b'), 0);
        assert_eq!((paged.get(130), paged.get(129)), (Some(&'a'), None));
        assert_eq!(paged.remove(130), Some('a'));
        assert_eq!(paged.remove(130), None);
    }
}
