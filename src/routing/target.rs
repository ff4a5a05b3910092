//! What an edge of a tree leads to, and the texts that share a place in it.

use hashbrown::HashMap;

/// No node, no text.
pub const NONE: u32 = u32::MAX;
const LEAF: u32 = 1 << 31;

/// A node's number, or a text's with `LEAF` set, or `NONE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target(u32);

#[derive(Clone, Copy, Debug)]
pub enum Found {
    None,
    /// A text alone below its edge: it has no nodes of its own.
    Leaf(u32),
    Node(u32),
}

impl Target {
    pub const NOTHING: Self = Self(NONE);

    pub fn leaf(text: u32) -> Self {
        Self(text | LEAF)
    }

    pub fn node(node: u32) -> Self {
        Self(node)
    }

    #[inline]
    pub fn found(self) -> Found {
        match self.0 {
            NONE => Found::None,
            leaf if leaf & LEAF != 0 => Found::Leaf(leaf & !LEAF),
            node => Found::Node(node),
        }
    }
}

/// Texts whose every key is equal share a place; this chains them. Nearly always empty.
#[derive(Default)]
pub struct Chains(HashMap<u32, u32>);

impl Chains {
    /// Puts `id` before the chain that begins at `first`, which may be `NONE`; gives `id`, which
    /// is the first now.
    pub fn add(&mut self, first: u32, id: u32) -> u32 {
        if first != NONE {
            self.0.insert(id, first);
        }
        id
    }

    /// Takes `id` out of the chain that begins at `first`; gives the first after that.
    pub fn remove(&mut self, first: u32, id: u32) -> u32 {
        let after = self.0.remove(&id).unwrap_or(NONE);
        let outcome = if first == id {
            after
        } else {
            let mut before = first;
            while before != NONE && self.next(before) != id {
                before = self.next(before);
            }
            self.0.remove(&before);
            if before != NONE && after != NONE {
                self.0.insert(before, after);
            }
            first
        };
        if self.0.is_empty() {
            self.0 = HashMap::default();
        }
        outcome
    }

    /// The chain that begins at `first`.
    #[inline]
    pub fn iter(&self, first: u32) -> impl Iterator<Item = u32> {
        let mut id = first;
        std::iter::from_fn(move || {
            let current = id;
            id = if current == NONE {
                NONE
            } else {
                self.next(current)
            };
            (current != NONE).then_some(current)
        })
    }

    pub fn bytes(&self) -> usize {
        self.0.allocation_size()
    }

    #[inline]
    fn next(&self, id: u32) -> u32 {
        if self.0.is_empty() {
            return NONE;
        }
        self.0.get(&id).copied().unwrap_or(NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_lose_any_of_their_texts() {
        for gone in [1, 2, 3] {
            let mut chains = Chains::default();
            let mut first = NONE;
            for id in [1, 2, 3] {
                first = chains.add(first, id);
            }
            first = chains.remove(first, gone);
            let mut left: Vec<u32> = chains.iter(first).collect();
            left.sort_unstable();
            let expected: Vec<u32> = (1..=3).filter(|id| *id != gone).collect();
            assert_eq!(left, expected);
            for id in left {
                first = chains.remove(first, id);
            }
            assert_eq!((first, chains.bytes()), (NONE, 0));
        }
    }
}
