//! Filters with wildcards.
//!
//! A filter hangs from the key of its literal prefix, the levels before its first wildcard, so a
//! topic with four levels asks five prefixes, however many filters there are. From there on one
//! edge a level, but only as far as filters share it: a filter alone below an edge is a *leaf*
//! there, without nodes of its own. All edges lie in one table.
//!
//! Edges are keyed by hash, so what a walk finds is a candidate: the caller compares the filter's
//! text with the topic.

use super::hash::{Seed, mix};
use super::levels::{TopicKeys, prefix_key, wildcard_part};
use super::table::{Row, Table};
use super::target::{Chains, Found, NONE, Target};
use crate::base::Paged;

/// The parent of edges whose key is that of a prefix.
const ROOT: u32 = u32::MAX;

#[derive(Default)]
pub struct Trie {
    edges: Table<Edge>,
    nodes: Paged<Node>,
    chains: Chains,
}

#[derive(Clone, Copy)]
struct Edge {
    parent: u32,
    key: u32,
    target: Target,
}

struct Node {
    plus: Target,
    /// Filters that end in `#` here.
    multi: u32,
    /// Filters that end here.
    end: u32,
    /// Edges that leave here.
    edges: u32,
}

/// Where a target or a list of filters is held.
#[derive(Clone, Copy)]
enum Place {
    Edge { parent: u32, key: u32 },
    Plus { node: u32 },
}

#[derive(Clone, Copy)]
enum Step {
    Plus,
    Multi,
    End,
    Literal(u32),
}

/// What a change did to the set of literal prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// No prefix came or went.
    Within,
    /// The first filter with this prefix key came, or the last one went.
    Prefix(u32),
}

impl Trie {
    /// Adds a filter that is not there. `text` gives the text of any filter in the trie.
    pub fn insert<'a>(&mut self, seed: &Seed, id: u32, text: impl Fn(u32) -> &'a str) -> Change {
        let (mut place, mut depth) = (top(seed, text(id)), 0);
        let mut change = Change::Within;
        loop {
            match self.target(place).found() {
                Found::None => {
                    if let Place::Edge { parent: ROOT, key } = place {
                        change = Change::Prefix(key);
                    }
                    self.set_target(place, Target::leaf(id));
                    return change;
                }
                Found::Leaf(other) => self.split(place, other, step(seed, text(other), depth)),
                Found::Node(node) => {
                    match step(seed, text(id), depth) {
                        Step::End => {
                            let first = self.chains.add(self.node(node).end, id);
                            self.node_mut(node).end = first;
                            return Change::Within;
                        }
                        Step::Multi => {
                            let first = self.chains.add(self.node(node).multi, id);
                            self.node_mut(node).multi = first;
                            return Change::Within;
                        }
                        Step::Plus => place = Place::Plus { node },
                        Step::Literal(key) => place = Place::Edge { parent: node, key },
                    }
                    depth += 1;
                }
            }
        }
    }

    /// Takes out a filter that is there, and every node that is left empty.
    pub fn remove(&mut self, seed: &Seed, id: u32, filter: &str) -> Change {
        let mut places = vec![top(seed, filter)];
        loop {
            let place = places[places.len() - 1];
            let node = match self.target(place).found() {
                Found::None => return Change::Within,
                Found::Leaf(_) => return self.prune(&places),
                Found::Node(node) => node,
            };
            match step(seed, filter, places.len() - 1) {
                Step::End => {
                    let left = self.chains.remove(self.node(node).end, id);
                    self.node_mut(node).end = left;
                    return self.prune_if_empty(node, &places);
                }
                Step::Multi => {
                    let left = self.chains.remove(self.node(node).multi, id);
                    self.node_mut(node).multi = left;
                    return self.prune_if_empty(node, &places);
                }
                Step::Plus => places.push(Place::Plus { node }),
                Step::Literal(key) => places.push(Place::Edge { parent: node, key }),
            }
        }
    }

    /// The filter with this text.
    pub fn find<'a>(
        &self,
        seed: &Seed,
        filter: &str,
        text: impl Fn(u32) -> &'a str,
    ) -> Option<u32> {
        let (mut place, mut depth) = (top(seed, filter), 0);
        let candidate = loop {
            let node = match self.target(place).found() {
                Found::None => return None,
                Found::Leaf(id) => break id,
                Found::Node(node) => node,
            };
            match step(seed, filter, depth) {
                Step::End => break self.node(node).end,
                Step::Multi => break self.node(node).multi,
                Step::Plus => place = Place::Plus { node },
                Step::Literal(key) => place = Place::Edge { parent: node, key },
            }
            depth += 1;
        };
        self.chains.iter(candidate).find(|&id| text(id) == filter)
    }

    /// Has the place of the edge below this prefix brought near.
    #[inline]
    pub fn prefetch(&self, prefix: u32) {
        self.edges.prefetch(edge_hash(ROOT, prefix));
    }

    /// Gives every filter that may match the topic; the caller compares the text. Where keys
    /// collide a filter may be given twice.
    pub fn candidates(&self, keys: &TopicKeys, mut give: impl FnMut(u32)) {
        if self.edges.is_empty() {
            return;
        }
        let mut open: Vec<(Target, usize)> = Vec::new();
        for (level, &key) in keys.prefixes.iter().enumerate().skip(keys.prefix_min) {
            let target = self.target(Place::Edge { parent: ROOT, key });
            if target != Target::NOTHING {
                open.push((target, level));
            }
            while let Some((target, level)) = open.pop() {
                match target.found() {
                    Found::None => {}
                    Found::Leaf(id) => give(id),
                    Found::Node(node) => self.visit(node, level, keys, &mut open, &mut give),
                }
            }
        }
    }

    pub fn bytes(&self) -> usize {
        self.edges.bytes() + self.nodes.len() * size_of::<Option<Node>>() + self.chains.bytes()
    }

    fn visit(
        &self,
        number: u32,
        level: usize,
        keys: &TopicKeys,
        open: &mut Vec<(Target, usize)>,
        give: &mut impl FnMut(u32),
    ) {
        let node = self.node(number);
        self.chains.iter(node.multi).for_each(&mut *give);
        let Some(&key) = keys.levels.get(level) else {
            return self.chains.iter(node.end).for_each(give);
        };
        if node.plus != Target::NOTHING {
            open.push((node.plus, level + 1));
        }
        if node.edges > 0 {
            let target = self.target(Place::Edge {
                parent: number,
                key,
            });
            if target != Target::NOTHING {
                open.push((target, level + 1));
            }
        }
    }

    /// Puts a node where the leaf `other` is, and the leaf one step below it.
    fn split(&mut self, place: Place, other: u32, step: Step) {
        let node = Node {
            plus: Target::NOTHING,
            multi: NONE,
            end: NONE,
            edges: 0,
        };
        let number = self.nodes.insert(node);
        self.set_target(place, Target::node(number));
        let node = self.node_mut(number);
        match step {
            Step::End => node.end = other,
            Step::Multi => node.multi = other,
            Step::Plus => node.plus = Target::leaf(other),
            Step::Literal(key) => {
                self.set_target(
                    Place::Edge {
                        parent: number,
                        key,
                    },
                    Target::leaf(other),
                );
            }
        }
    }

    fn prune_if_empty(&mut self, node: u32, places: &[Place]) -> Change {
        if !self.node(node).is_empty() {
            return Change::Within;
        }
        self.nodes.remove(node);
        self.prune(places)
    }

    /// Clears the last place, and with it every node above that has nothing left.
    fn prune(&mut self, places: &[Place]) -> Change {
        for &place in places.iter().rev() {
            self.set_target(place, Target::NOTHING);
            let above = match place {
                Place::Edge { parent: ROOT, key } => return Change::Prefix(key),
                Place::Edge { parent, .. } => parent,
                Place::Plus { node } => node,
            };
            if !self.node(above).is_empty() {
                break;
            }
            self.nodes.remove(above);
        }
        Change::Within
    }

    #[inline]
    fn target(&self, place: Place) -> Target {
        match place {
            Place::Plus { node } => self.node(node).plus,
            Place::Edge { parent, key } => {
                let same = |edge: &Edge| edge.parent == parent && edge.key == key;
                match self.edges.find(edge_hash(parent, key), same) {
                    Some(edge) => edge.target,
                    None => Target::NOTHING,
                }
            }
        }
    }

    fn set_target(&mut self, place: Place, target: Target) {
        let (parent, key) = match place {
            Place::Plus { node } => {
                self.node_mut(node).plus = target;
                return;
            }
            Place::Edge { parent, key } => (parent, key),
        };
        let same = |edge: &Edge| edge.parent == parent && edge.key == key;
        let hash = edge_hash(parent, key);
        if target == Target::NOTHING {
            if self.edges.remove(hash, same) {
                self.count_edges(parent, -1);
            }
        } else if let Some(edge) = self.edges.find_mut(hash, same) {
            edge.target = target;
        } else {
            self.edges.insert(Edge {
                parent,
                key,
                target,
            });
            self.count_edges(parent, 1);
        }
    }

    #[inline]
    fn node(&self, number: u32) -> &Node {
        self.nodes
            .get(number)
            .expect("what points to a node goes before it") // kept by prune
    }

    fn node_mut(&mut self, number: u32) -> &mut Node {
        self.nodes
            .get_mut(number)
            .expect("what points to a node goes before it") // as above
    }

    fn count_edges(&mut self, parent: u32, change: i32) {
        if parent != ROOT {
            let edges = &mut self.node_mut(parent).edges;
            *edges = edges.wrapping_add_signed(change);
        }
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.plus == Target::NOTHING && self.multi == NONE && self.end == NONE && self.edges == 0
    }
}

impl Row for Edge {
    const FREE: Self = Self {
        parent: ROOT,
        key: 0,
        target: Target::NOTHING,
    };

    #[inline]
    fn is_free(&self) -> bool {
        self.target == Target::NOTHING
    }

    #[inline]
    fn hash(&self) -> u32 {
        edge_hash(self.parent, self.key)
    }
}

#[inline]
fn edge_hash(parent: u32, key: u32) -> u32 {
    mix(parent, key) as u32
}

fn top(seed: &Seed, filter: &str) -> Place {
    let wildcards = wildcard_part(filter).unwrap_or_default();
    Place::Edge {
        parent: ROOT,
        key: prefix_key(seed, filter, wildcards),
    }
}

/// The step below the node that a filter reaches after `depth` steps from its prefix.
fn step(seed: &Seed, filter: &str, depth: usize) -> Step {
    let wildcards = wildcard_part(filter).unwrap_or_default();
    match wildcards.split('/').nth(depth) {
        None => Step::End,
        Some("+") => Step::Plus,
        Some("#") => Step::Multi,
        Some(level) => Step::Literal(seed.key(seed.text(level))),
    }
}
