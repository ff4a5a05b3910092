//! The key that somebody probably meant.

use super::keys::{KEYS, LISTENER_KEYS};

/// The nearest `section.name` to one that does not exist. A right name in a wrong section is
/// nearer than a wrong name; one that is not even half right says nothing about the section.
pub fn key(section: &str, name: &str) -> String {
    let wanted = format!("{section}.{name}");
    let anywhere = |known: &str| match distance(known, name) {
        edits if edits * 2 <= name.len() => edits + 1,
        _ => usize::MAX,
    };
    KEYS.iter()
        .map(|key| (key.path(), key.name))
        .min_by_key(|(path, known)| distance(path, &wanted).min(anywhere(known)))
        .map(|(path, _)| path)
        .unwrap_or_default()
}

/// The nearest key of a `[[listener]]`.
pub fn listener_key(name: &str) -> &'static str {
    nearest(name, LISTENER_KEYS.iter().map(|key| key.name))
}

/// The nearest of some words; the first of those equally near.
pub fn nearest<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> &'a str {
    known
        .min_by_key(|word| distance(word, wanted))
        .unwrap_or("")
}

/// Edits (insert, delete, replace, swap of neighbours) that turn one word into the other.
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let width = right.len() + 1;
    let mut cells: Vec<usize> = vec![0; (left.len() + 1) * width];
    for (i, cell) in cells.iter_mut().enumerate() {
        *cell = if i < width { i } else { i / width };
    }
    for i in 1..=left.len() {
        for j in 1..width {
            let differs = usize::from(left[i - 1] != right[j - 1]);
            let mut edits = (cells[(i - 1) * width + j - 1] + differs)
                .min(cells[(i - 1) * width + j] + 1)
                .min(cells[i * width + j - 1] + 1);
            let swapped =
                i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
            if swapped {
                edits = edits.min(cells[(i - 2) * width + j - 2] + 1);
            }
            cells[i * width + j] = edits;
        }
    }
    cells[left.len() * width + right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (left, right, edits) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("queue", "queue", 0),
            ("queue", "queu", 1),
            ("queue", "qeuue", 1),
            ("queue", "quote", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(left, right), edits, "{left} {right}");
        }
    }

    #[test]
    fn nearest_key_prefers_the_right_name_in_the_wrong_section() {
        assert_eq!(key("mqtt", "packet_byte_max"), "mqtt.packet_bytes_max");
        assert_eq!(key("mqtt", "queue_length_max"), "limits.queue_length_max");
        assert_eq!(key("node", "shard"), "node.shards");
        assert!(key("limits", "foo").starts_with("limits."));
        assert_eq!(listener_key("uri"), "url");
    }
}
