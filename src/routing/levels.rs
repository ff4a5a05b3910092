//! Topics and filters seen as levels (MQTT 5 section 4.7).

use super::hash::Seed;

/// The part of a filter with wildcards that begins at its first wildcard; none without wildcards.
/// `a/+/c` gives `+/c`.
pub fn wildcard_part(filter: &str) -> Option<&str> {
    let at = filter
        .bytes()
        .position(|byte| byte == b'+' || byte == b'#')?;
    filter.get(at..)
}

/// Key of the levels before `wildcards`, which is the end of `filter`.
pub fn prefix_key(seed: &Seed, filter: &str, wildcards: &str) -> u32 {
    let literal = &filter[..filter.len() - wildcards.len()];
    let mut prefix = seed.root();
    for level in literal.split_terminator('/') {
        prefix = seed.extend(prefix, seed.text(level));
    }
    seed.key(prefix)
}

/// True when the filter, valid and without a share name, matches the topic name. A filter that
/// begins with a wildcard does not match a topic that begins with `$` [MQTT-4.7.2-1].
///
/// On bytes, because texts are kept as bytes; the tests hold it against `codec::topic::matches`.
pub fn matches(filter: &[u8], topic: &[u8]) -> bool {
    if topic.first() == Some(&b'$') && matches!(filter.first(), Some(b'+' | b'#')) {
        return false;
    }
    let mut names = topic.split(|byte| *byte == b'/');
    for level in filter.split(|byte| *byte == b'/') {
        if level == b"#" {
            return true;
        }
        match names.next() {
            Some(name) if level == b"+" || level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

/// The keys of one topic, in buffers kept for the next one.
#[derive(Default)]
pub struct TopicKeys {
    /// Key of the whole topic.
    pub exact: u32,
    /// Keys of the levels.
    pub levels: Vec<u32>,
    /// Keys of the prefixes, by their number of levels: one more than there are levels.
    pub prefixes: Vec<u32>,
    /// Fewest levels a prefix must have to match: 1 for `$` topics, else 0.
    pub prefix_min: usize,
    /// Room for the numbers of the filters found.
    pub found: Vec<u32>,
}

impl TopicKeys {
    /// The keys of `topic`, whose hash is `hash`; `found` gets that of each prefix at once.
    #[inline]
    pub fn set(&mut self, seed: &Seed, topic: &str, hash: u64, found: impl Fn(u32)) {
        self.exact = seed.key(hash);
        self.prefix_min = usize::from(topic.starts_with('$'));
        self.levels.clear();
        self.prefixes.clear();
        let mut prefix = seed.root();
        self.prefixes.push(seed.key(prefix));
        for level in topic.split('/') {
            let hash = seed.text(level);
            prefix = seed.extend(prefix, hash);
            let key = seed.key(prefix);
            found(key);
            self.levels.push(seed.key(hash));
            self.prefixes.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcard_parts() {
        assert_eq!(wildcard_part("a/b"), None);
        assert_eq!(wildcard_part("a/+/b"), Some("+/b"));
        assert_eq!(wildcard_part("/#"), Some("#"));
        assert_eq!(wildcard_part("+"), Some("+"));
    }

    #[test]
    fn prefixes_of_filters_are_prefixes_of_topics() {
        let seed = Seed::new(5);
        let mut keys = TopicKeys::default();
        for (topic, filter, levels) in [
            ("a/b", "#", 0),
            ("a/b", "a/+", 1),
            ("a/b", "a/b/#", 2),
            ("/x", "/+", 1),
            ("//", "//#", 2),
        ] {
            keys.set(&seed, topic, seed.text(topic), |_| {});
            let key = prefix_key(&seed, filter, wildcard_part(filter).unwrap());
            assert_eq!(keys.prefixes[levels], key, "{topic} {filter}");
        }
    }

    #[test]
    fn matching() {
        for (filter, topic) in [
            ("a/b", "a/b"),
            ("a/#", "a"),
            ("a/#", "a/b/c"),
            ("+/+", "/"),
            ("/+", "/a"),
            ("#", "/"),
            ("$SYS/#", "$SYS/a"),
            ("$SYS/+", "$SYS/a"),
        ] {
            assert!(
                matches(filter.as_bytes(), topic.as_bytes()),
                "{filter} {topic}"
            );
        }
        for (filter, topic) in [
            ("a/b", "a"),
            ("a", "a/b"),
            ("a/+", "a"),
            ("+", "/a"),
            ("#", "$SYS/a"),
            ("+/a", "$SYS/a"),
            ("a/+/#", "a"),
        ] {
            assert!(
                !matches(filter.as_bytes(), topic.as_bytes()),
                "{filter} {topic}"
            );
        }
    }
}
