//! A table of slots in pages: stable indices, no copying as it grows, memory back as it empties.
//!
//! A `Vec` that has held a million connections keeps their memory for ever, and doubling it copies
//! everything at the worst moment. Pages are freed one by one as their last slot empties, and new
//! entries take the lowest page with room so that the upper ones drain.

use std::collections::BTreeSet;

use super::prefetch::prefetch;

/// Slots that one word has bits for.
const WORD: usize = u64::BITS as usize;

/// The slots of a page, and nothing beside them: an entry of a cache line's size lies in one line,
/// and 64 of any size fill one of the allocator's sizes where a few bytes more would cost the next.
#[repr(align(64))]
struct Slots<T, const WORDS: usize>([[Option<T>; WORD]; WORDS]);

struct Page<T, const WORDS: usize> {
    /// `None` when no slot is in use.
    slots: Option<Box<Slots<T, WORDS>>>,
    /// A bit a slot.
    used: [u64; WORDS],
}

/// Slots addressed by `u32`, `WORDS` times 64 a page: with more the list of pages of a very large
/// table stays in the processor's cache, with fewer memory comes back sooner.
pub struct Paged<T, const WORDS: usize = 1> {
    pages: Vec<Page<T, WORDS>>,
    /// Pages with a free slot, absent ones included.
    roomy: BTreeSet<u32>,
    len: usize,
}

/// Where a slot is: its page, the word there, and the bit in that.
#[derive(Clone, Copy)]
struct Place {
    page: usize,
    word: usize,
    bit: usize,
}

impl<T, const WORDS: usize> Default for Paged<T, WORDS> {
    fn default() -> Self {
        Paged {
            pages: Vec::new(),
            roomy: BTreeSet::new(),
            len: 0,
        }
    }
}

impl<T, const WORDS: usize> Page<T, WORDS> {
    fn is_full(&self) -> bool {
        self.used == [u64::MAX; WORDS]
    }

    fn first_free(&self) -> usize {
        let word = self.used.iter().position(|&used| used != u64::MAX);
        let word = word.expect("a roomy page has room");
        word * WORD + (!self.used[word]).trailing_zeros() as usize
    }
}

impl<T, const WORDS: usize> Paged<T, WORDS> {
    const PAGE: usize = WORD * WORDS;

    #[inline]
    fn place(slot: u32) -> Place {
        let slot = slot as usize;
        Place {
            page: slot / Self::PAGE,
            word: slot / WORD % WORDS,
            bit: slot % WORD,
        }
    }

    /// Puts `value` into the lowest page with room; the slot is stable until removed.
    pub fn insert(&mut self, value: T) -> u32 {
        let page_index = match self.roomy.first() {
            Some(&page) => page as usize,
            None => self.pages.len(),
        };
        let free = self.pages.get(page_index).map_or(0, Page::first_free);
        let slot = (page_index * Self::PAGE + free) as u32;
        self.insert_at(slot, value);
        slot
    }

    /// Puts `value` into `slot`.
    ///
    /// # Panics
    /// When the slot is taken: two owners of one slot is a broken invariant.
    pub fn insert_at(&mut self, slot: u32, value: T) {
        let place = Self::place(slot);
        while self.pages.len() <= place.page {
            self.roomy.insert(self.pages.len() as u32);
            self.pages.push(Page {
                slots: None,
                used: [0; WORDS],
            });
        }
        let page = &mut self.pages[place.page];
        let empty = || Box::new(Slots([const { [const { None }; WORD] }; WORDS]));
        let slots = &mut page.slots.get_or_insert_with(empty).0[place.word];
        assert!(slots[place.bit].is_none(), "slot {slot} is taken");
        slots[place.bit] = Some(value);
        page.used[place.word] |= 1 << place.bit;
        if page.is_full() {
            self.roomy.remove(&(place.page as u32));
        }
        self.len += 1;
    }

    /// Empties `slot`.
    pub fn remove(&mut self, slot: u32) -> Option<T> {
        let place = Self::place(slot);
        let page = self.pages.get_mut(place.page)?;
        let value = page.slots.as_mut()?.0[place.word][place.bit].take()?;
        if page.is_full() {
            self.roomy.insert(place.page as u32);
        }
        page.used[place.word] &= !(1 << place.bit);
        if page.used == [0; WORDS] {
            page.slots = None;
            self.trim();
        }
        self.len -= 1;
        Some(value)
    }

    /// The value in `slot`.
    #[inline]
    pub fn get(&self, slot: u32) -> Option<&T> {
        let place = Self::place(slot);
        let page = self.pages.get(place.page)?;
        page.slots.as_ref()?.0[place.word][place.bit].as_ref()
    }

    /// Has `slot` brought near, used or not.
    #[inline]
    pub fn prefetch(&self, slot: u32) {
        let place = Self::place(slot);
        let page = self.pages.get(place.page);
        if let Some(slots) = page.and_then(|page| page.slots.as_ref()) {
            prefetch(&slots.0[place.word][place.bit]);
        }
    }

    /// The value in `slot`, to change.
    #[inline]
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        let place = Self::place(slot);
        let page = self.pages.get_mut(place.page)?;
        page.slots.as_mut()?.0[place.word][place.bit].as_mut()
    }

    /// Slots in use.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes held, what the values have allocated left out. Looks at every page.
    pub fn bytes(&self) -> usize {
        let held = self
            .pages
            .iter()
            .filter(|page| page.slots.is_some())
            .count();
        held * size_of::<Slots<T, WORDS>>() + self.pages.len() * size_of::<Page<T, WORDS>>()
    }

    /// Whether no slot is in use.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every slot in use from `from` on, in ascending order.
    pub fn iter_from(&self, from: u32) -> impl Iterator<Item = (u32, &T)> {
        let first = from as usize / Self::PAGE;
        let pages = self.pages.iter().enumerate().skip(first);
        let there = pages.filter_map(|(i, page)| Some((i, page.slots.as_ref()?)));
        let slots = there.flat_map(|(i, slots)| {
            let slots = slots.0.as_flattened().iter().enumerate();
            slots.filter_map(move |(at, v)| Some(((i * Self::PAGE + at) as u32, v.as_ref()?)))
        });
        slots.filter(move |(slot, _)| *slot >= from)
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
        fill_and_free(Paged::<u32>::default());
        fill_and_free(Paged::<u32, 4>::default());
    }

    fn fill_and_free<const WORDS: usize>(mut paged: Paged<u32, WORDS>) {
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
        let mut paged = Paged::<char>::default();
        paged.insert_at(130, 'a');
        assert_eq!(paged.insert('b'), 0);
        assert_eq!((paged.get(130), paged.get(129)), (Some(&'a'), None));
        assert_eq!(paged.remove(130), Some('a'));
        assert_eq!(paged.remove(130), None);
    }
}
