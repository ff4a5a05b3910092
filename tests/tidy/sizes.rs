//! How long files and how wide lines get.

use crate::Breach;
use crate::tree::Source;

const FILE_LINES_MAX: usize = 800;
/// Nine files in ten stay below this, and most of all below the next.
const FILE_LINES_LONG: usize = 600;
const FILE_LINES_USUAL: usize = 300;
const COLUMNS_MAX: usize = 100;
/// Files that are one declared table, which a split would make harder to read.
const TABLES: [&str; 0] = [];

pub(crate) fn file(source: &Source) -> Vec<Breach> {
    let lines = source.text.lines().count();
    if lines <= FILE_LINES_MAX || TABLES.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let what = format!("{lines} lines, over {FILE_LINES_MAX}");
    vec![Breach::new(source, lines, what)]
}

/// The shares of long files over the whole tree.
pub(crate) fn spread(sources: &[Source]) -> Vec<Breach> {
    let over = |limit: usize| -> Vec<(&Source, usize)> {
        sources
            .iter()
            .map(|source| (source, source.text.lines().count()))
            .filter(|(_, lines)| *lines > limit)
            .collect()
    };
    let long = over(FILE_LINES_LONG);
    let unusual = over(FILE_LINES_USUAL);
    let mut breaches = Vec::new();
    if long.len() * 10 > sources.len() {
        breaches.extend(told(&long, FILE_LINES_LONG, "one file in ten"));
    }
    if unusual.len() * 2 > sources.len() {
        breaches.extend(told(&unusual, FILE_LINES_USUAL, "half of the files"));
    }
    breaches
}

fn told(files: &[(&Source, usize)], limit: usize, share: &str) -> Vec<Breach> {
    files
        .iter()
        .map(|(source, lines)| {
            let what = format!("{lines} lines, and more than {share} are over {limit}");
            Breach::new(source, *lines, what)
        })
        .collect()
}

pub(crate) fn columns(source: &Source) -> Vec<Breach> {
    let lines = source.text.lines().enumerate();
    lines
        .map(|(index, line)| (index + 1, line.chars().count()))
        .filter(|(_, columns)| *columns > COLUMNS_MAX)
        .map(|(line, columns)| {
            let what = format!("{columns} columns, over {COLUMNS_MAX}");
            Breach::new(source, line, what)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Area;

    fn lines(count: usize) -> Source {
        Source::new("src/x.rs", Area::Broker, &"\n".repeat(count))
    }

    #[test]
    fn long_files_are_told() {
        assert!(file(&lines(FILE_LINES_MAX)).is_empty());
        assert_eq!(file(&lines(FILE_LINES_MAX + 1)).len(), 1);
    }

    #[test]
    fn the_spread_is_told() {
        let mut sources: Vec<Source> = (0..18).map(|_| lines(10)).collect();
        sources.push(lines(FILE_LINES_LONG + 1));
        assert!(spread(&sources).is_empty());
        sources.extend([lines(FILE_LINES_LONG + 1), lines(FILE_LINES_LONG + 1)]);
        assert_eq!(spread(&sources).len(), 3);
        let unusual: Vec<Source> = (0..3).map(|_| lines(FILE_LINES_USUAL + 1)).collect();
        assert_eq!(spread(&unusual).len(), 3);
    }

    #[test]
    fn wide_lines_are_told_in_characters() {
        let fits = "é".repeat(COLUMNS_MAX);
        let wide = format!("{fits}\n{fits}é");
        let source = Source::new("src/x.rs", Area::Broker, &wide);
        let breaches = columns(&source);
        assert_eq!(breaches.len(), 1);
        assert_eq!(breaches[0].line, 2);
    }
}
