//! Topics in a tree whose edges are ordered, so that a walk can stop and go on.
//!
//! The order is that of the hashes of the levels, a topic before those below it. Every text has a
//! place in it, stored or not, so a walk can go on from a topic that is gone. A topic alone below
//! an edge is a *leaf* there, without nodes of its own.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;

use super::hash::Seed;
use super::target::{Chains, Found, NONE, Target};
use crate::base::Paged;

/// The node without levels.
const ROOT: u32 = u32::MAX;

#[derive(Default)]
pub struct TopicTree {
    /// By the parent node (high half) and the key of the level (low half).
    edges: BTreeMap<u64, Target>,
    nodes: Paged<Node>,
    chains: Chains,
}

struct Node {
    /// The topic that ends here.
    own: u32,
    /// Edges that leave here.
    edges: u32,
}

/// What to look for at one level.
#[derive(Clone, Copy)]
pub enum Level {
    Literal(u32),
    Plus,
    Multi,
}

/// One part of a walk that is still to be done.
enum Open<'a> {
    One {
        target: Target,
        state: State,
    },
    Children {
        range: Range<'a, u64, Target>,
        state: State,
        from: Option<u32>,
    },
}

/// How far a walk has come on one way down.
#[derive(Clone, Copy)]
struct State {
    /// Levels of topics behind.
    depth: usize,
    /// Levels of the filter behind.
    matched: usize,
    /// All levels behind are those of the topic to go on from.
    on_path: bool,
}

pub struct Walk<'a> {
    tree: &'a TopicTree,
    levels: &'a [Level],
    /// Keys of the topic to go on from.
    path: &'a [u32],
    open: Vec<Open<'a>>,
}

/// A step of a walk.
pub enum Step {
    /// Topics that may match: the first of a chain.
    Topics(u32),
    /// One topic that may match, if it does not come before the topic to go on from, which is to
    /// be seen from its keys after this many levels.
    Leaf {
        id: u32,
        compare_from: Option<usize>,
    },
    /// A node on the way; `on_path`: on the way to where the walk goes on.
    Passed { on_path: bool },
}

impl TopicTree {
    /// Adds a topic that is not there. `text` gives the text of any topic in the tree.
    pub fn insert<'t>(&mut self, seed: &Seed, id: u32, text: impl Fn(u32) -> &'t str) {
        let mut levels = text(id).split('/');
        let mut place = place(ROOT, next_key(seed, &mut levels).unwrap_or_default());
        let mut depth = 1;
        loop {
            let node = match self.target(place).found() {
                Found::None => return self.add_edge(place, Target::leaf(id)),
                Found::Leaf(other) => {
                    let key = next_key(seed, &mut text(other).split('/').skip(depth));
                    self.split(place, other, key);
                    continue;
                }
                Found::Node(node) => node,
            };
            let Some(key) = next_key(seed, &mut levels) else {
                let first = self.node(node).own;
                self.node_mut(node).own = self.chains.add(first, id);
                return;
            };
            place = self::place(node, key);
            depth += 1;
        }
    }

    /// Takes out a topic that is there, and every node that is left empty.
    pub fn remove(&mut self, seed: &Seed, id: u32, topic: &str) {
        let mut levels = topic.split('/');
        let mut parents = vec![ROOT];
        let mut places = vec![place(ROOT, next_key(seed, &mut levels).unwrap_or_default())];
        loop {
            let node = match self.target(places[places.len() - 1]).found() {
                Found::None => return,
                Found::Leaf(_) => break,
                Found::Node(node) => node,
            };
            parents.push(node);
            if let Some(key) = next_key(seed, &mut levels) {
                places.push(place(node, key));
                continue;
            }
            let left = self.chains.remove(self.node(node).own, id);
            self.node_mut(node).own = left;
            if !self.node(node).is_empty() {
                return;
            }
            self.nodes.remove(node);
            break;
        }
        for (&place, &parent) in places.iter().zip(&parents).rev() {
            self.edges.remove(&place);
            if parent == ROOT {
                return;
            }
            let node = self.node_mut(parent);
            node.edges -= 1;
            if !node.is_empty() {
                return;
            }
            self.nodes.remove(parent);
        }
    }

    /// A walk over the topics that may match `levels`, from `path` on (nothing: from the start).
    pub fn walk<'a>(&'a self, levels: &'a [Level], path: &'a [u32]) -> Walk<'a> {
        let mut walk = Walk {
            tree: self,
            levels,
            path,
            open: Vec::new(),
        };
        if !self.edges.is_empty() {
            walk.open_node(
                ROOT,
                State {
                    depth: 0,
                    matched: 0,
                    on_path: !path.is_empty(),
                },
            );
        }
        walk
    }

    /// A chain of topics, by its first.
    pub fn chain(&self, first: u32) -> impl Iterator<Item = u32> {
        self.chains.iter(first)
    }

    /// Bytes held, as nearly as the map lets one know.
    pub fn bytes(&self) -> usize {
        // A B-tree filled in random order is about two thirds full.
        let edges = self.edges.len() * (size_of::<u64>() + size_of::<Target>()) * 3 / 2;
        edges + self.nodes.len() * size_of::<Option<Node>>() + self.chains.bytes()
    }

    /// Puts a node where the leaf `other` is, and the leaf at `key` below it, or in the node.
    fn split(&mut self, at: u64, other: u32, key: Option<u32>) {
        let own = if key.is_none() { other } else { NONE };
        let node = self.nodes.insert(Node { own, edges: 0 });
        self.edges.insert(at, Target::node(node));
        if let Some(key) = key {
            self.add_edge(place(node, key), Target::leaf(other));
        }
    }

    fn add_edge(&mut self, place: u64, target: Target) {
        self.edges.insert(place, target);
        let parent = (place >> 32) as u32;
        if parent != ROOT {
            self.node_mut(parent).edges += 1;
        }
    }

    /// The first topic of what an edge leads to.
    fn first_of(&self, mut target: Target) -> Option<u32> {
        loop {
            let number = match target.found() {
                Found::None => return None,
                Found::Leaf(id) => return Some(id),
                Found::Node(number) => number,
            };
            let own = self.node(number).own;
            if own != NONE {
                return Some(own);
            }
            target = *self.children(number, 0).next()?.1;
        }
    }

    fn children(&self, node: u32, from: u32) -> Range<'_, u64, Target> {
        self.edges.range(place(node, from)..=place(node, u32::MAX))
    }

    fn target(&self, place: u64) -> Target {
        self.edges.get(&place).copied().unwrap_or(Target::NOTHING)
    }

    fn node(&self, number: u32) -> &Node {
        self.nodes
            .get(number)
            .expect("what leads to a node goes before it") // kept by remove
    }

    fn node_mut(&mut self, number: u32) -> &mut Node {
        self.nodes
            .get_mut(number)
            .expect("what leads to a node goes before it") // as above
    }
}

impl Walk<'_> {
    /// The first topic of what comes next; none when the walk is over.
    pub fn upcoming(&mut self) -> Option<u32> {
        loop {
            let target = match self.open.last()? {
                Open::One { target, .. } => Some(*target),
                Open::Children { range, .. } => range.clone().next().map(|(_, target)| *target),
            };
            match target {
                Some(target) => return self.tree.first_of(target),
                None => drop(self.open.pop()),
            }
        }
    }

    /// One step; none when the walk is over.
    pub fn step(&mut self) -> Option<Step> {
        let (target, state) = loop {
            match self.open.pop()? {
                Open::One { target, state } => break (target, state),
                Open::Children {
                    mut range,
                    state,
                    from,
                } => {
                    let Some((place, &target)) = range.next() else {
                        continue;
                    };
                    let on_path = from == Some(*place as u32);
                    self.open.push(Open::Children {
                        range,
                        state,
                        from: None,
                    });
                    break (target, State { on_path, ..state });
                }
            }
        };
        match target.found() {
            Found::None => Some(Step::Passed { on_path: false }),
            Found::Leaf(id) => Some(Step::Leaf {
                id,
                compare_from: state.on_path.then_some(state.depth),
            }),
            Found::Node(node) => Some(self.open_node(node, state)),
        }
    }

    fn open_node(&mut self, node: u32, state: State) -> Step {
        let from = if state.on_path {
            self.path.get(state.depth).copied()
        } else {
            None
        };
        let level = self.levels.get(state.matched).copied();
        let mut below = State {
            depth: state.depth + 1,
            matched: state.matched + 1,
            ..state
        };
        match level {
            None => {}
            Some(Level::Literal(key)) if from.is_none_or(|from| key >= from) => {
                below.on_path = from == Some(key);
                let target = self.tree.target(place(node, key));
                if target != Target::NOTHING {
                    self.open.push(Open::One {
                        target,
                        state: below,
                    });
                }
            }
            Some(Level::Literal(_)) => {}
            Some(Level::Plus | Level::Multi) => {
                if matches!(level, Some(Level::Multi)) {
                    below.matched = state.matched;
                }
                let range = self.tree.children(node, from.unwrap_or(0));
                self.open.push(Open::Children {
                    range,
                    state: below,
                    from,
                });
            }
        }
        let ends = matches!(level, None | Some(Level::Multi));
        // What ends here comes before everything below, so it is behind if the path goes below.
        if node == ROOT || !ends || from.is_some() {
            return Step::Passed {
                on_path: state.on_path,
            };
        }
        Step::Topics(self.tree.node(node).own)
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.own == NONE && self.edges == 0
    }
}

fn place(parent: u32, key: u32) -> u64 {
    u64::from(parent) << 32 | u64::from(key)
}

fn next_key<'t>(seed: &Seed, levels: &mut impl Iterator<Item = &'t str>) -> Option<u32> {
    levels.next().map(|level| seed.key(seed.text(level)))
}
