//! Compares folders byte for byte, and says where they differ first.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Panics if the folders do not hold the same files with the same bytes, and at least one file.
#[track_caller]
pub(crate) fn assert_same(left: &Path, right: &Path, what: &str) {
    assert!(!files(left).is_empty(), "{what}: there is nothing to compare");
    if let Some(difference) = first_difference(left, right) {
        panic!("{what}: {difference}");
    }
}

/// Returns the first file and line, by the file's path, in which two folders differ.
fn first_difference(left: &Path, right: &Path) -> Option<String> {
    let left = files(left);
    let right = files(right);
    let mut paths: Vec<_> = left.keys().chain(right.keys()).collect();
    paths.sort();
    paths.dedup();
    paths.into_iter().find_map(|path| {
        let name = path.display();
        match (left.get(path), right.get(path)) {
            (Some(left), Some(right)) => differing_line(left, right).map(|line| format!("{name}{line}")),
            (Some(_), None) => Some(format!("only the first has {name}")),
            (None, _) => Some(format!("only the second has {name}")),
        }
    })
}

fn differing_line(left: &[u8], right: &[u8]) -> Option<String> {
    if left == right {
        return None;
    }
    let mut lines = [left, right].map(|content| content.split_inclusive(|&byte| byte == b'\n'));
    for number in 1.. {
        let [left, right] = lines.each_mut().map(Iterator::next);
        if left != right {
            return Some(format!(":{number}\n first: {:?}\nsecond: {:?}", shown(left), shown(right)));
        }
    }
    None
}

fn shown(line: Option<&[u8]>) -> String {
    line.map_or("(no such line)".into(), String::from_utf8_lossy).into_owned()
}

/// Returns the content of every file below `folder`, by its path from there.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(path).unwrap());
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = TempDir::new().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    #[track_caller]
    fn difference(left: &[(&str, &str)], right: &[(&str, &str)]) -> Option<String> {
        first_difference(folder(left).path(), folder(right).path())
    }

    #[test]
    fn equal_folders_do_not_differ() {
        let run = [("runs/a/events.jsonl", "1\n2\n"), ("runs/a/run.json", "{}\n")];
        assert_eq!(difference(&run, &run), None);
    }

    #[test]
    fn the_first_line_that_differs_is_shown() {
        let left = [("events.jsonl", "1\n2\n3\n"), ("z", "left")];
        let right = [("events.jsonl", "1\n4\n5\n"), ("z", "right")];
        assert_eq!(difference(&left, &right).as_deref(), Some("events.jsonl:2\n first: \"2\\n\"\nsecond: \"4\\n\""));
    }

    #[test]
    fn a_missing_line_break_is_a_difference() {
        let shown = difference(&[("a", "1\n")], &[("a", "1")]);
        assert_eq!(shown.as_deref(), Some("a:1\n first: \"1\\n\"\nsecond: \"1\""));
    }

    #[test]
    fn a_file_that_ends_early_is_a_difference() {
        let shown = difference(&[("a", "1\n2\n")], &[("a", "1\n")]);
        assert_eq!(shown.as_deref(), Some("a:2\n first: \"2\\n\"\nsecond: \"(no such line)\""));
    }

    #[test]
    fn a_file_on_one_side_only_is_a_difference() {
        let less = [("run/a", "")];
        let more = [("run/a", ""), ("run/b", "")];
        assert_eq!(difference(&less, &more).as_deref(), Some("only the second has run/b"));
        assert_eq!(difference(&more, &less).as_deref(), Some("only the first has run/b"));
    }

    #[test]
    #[should_panic(expected = "there is nothing to compare")]
    fn two_empty_folders_are_no_evidence() {
        assert_same(folder(&[]).path(), folder(&[]).path(), "nothing");
    }
}
