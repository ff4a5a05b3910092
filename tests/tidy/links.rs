//! Links between the documents lead somewhere.

use std::fs;

use crate::Breach;
use crate::tree::root;

const FOLDERS: [&str; 2] = ["", "docs/"];

pub(crate) fn check() -> Vec<Breach> {
    let mut breaches = Vec::new();
    for folder in FOLDERS {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        for name in names.filter(|name| name.ends_with(".md")) {
            let path = format!("{folder}{name}");
            let text = fs::read_to_string(root().join(&path)).unwrap();
            for (line, target) in relative(&text) {
                if !root().join(folder).join(&target).exists() {
                    let what = format!("a link to `{target}`, which is not there");
                    let path = path.clone();
                    breaches.push(Breach { path, line, what });
                }
            }
        }
    }
    breaches
}

/// Targets of `[…](target)` that are files, with their lines; what follows `#` is left out.
fn relative(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for part in line.split("](").skip(1) {
            let target = part.split(')').next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") {
                found.push((index + 1, file.to_string()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_are_found() {
        let text = "[a](b.md) and [c](d/e.md#f)\n[g](#h) [i](https://j)";
        let found = relative(text);
        assert_eq!(found, [(1, "b.md".into()), (1, "d/e.md".into())]);
    }
}
