//! Links of a Markdown file.

use std::{fs, path::Path};

use super::in_repository;

/// Returns the relative links of `document` that lead to no file, or to no heading of it.
pub(crate) fn broken(document: &str, markdown: &str) -> Vec<String> {
    let folder = Path::new(document).parent().unwrap_or(Path::new(""));
    let mut broken = Vec::new();
    for target in targets(markdown) {
        let (file, heading) = target.split_once('#').unwrap_or((target, ""));
        let path = if file.is_empty() { Path::new(document).to_owned() } else { folder.join(file) };
        let path = in_repository(&path.to_string_lossy());
        let is_found = if heading.is_empty() {
            path.exists()
        } else {
            fs::read_to_string(&path).is_ok_and(|text| anchors(&text).any(|anchor| anchor == heading))
        };
        if !is_found {
            broken.push(format!("{document}: {target}"));
        }
    }
    broken
}

/// Returns the targets of links and pictures, except those on the web.
fn targets(markdown: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    for part in markdown.split("](").skip(1) {
        let target = part.split(')').next().unwrap_or_default();
        // The badge of the workflow leads out of the files, to the forge.
        let is_web = target.contains("://") || target.starts_with("../../actions/");
        if !is_web && !target.is_empty() && !target.contains(char::is_whitespace) {
            targets.push(target);
        }
    }
    targets
}

/// Returns the anchors of the headings, as GitHub makes them: lower case, spaces as `-`, without punctuation.
fn anchors(markdown: &str) -> impl Iterator<Item = String> {
    let headings = markdown.lines().filter_map(|line| line.strip_prefix('#'));
    headings.map(|heading| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    })
}

#[test]
fn links_and_anchors_are_those_of_github() {
    assert_eq!(targets("[a](b.md#c) and ![d](e.svg), [f](https://g.h)"), ["b.md#c", "e.svg"]);
    assert_eq!(anchors("## Use in tests\n### `[client.retry]`\n").collect::<Vec<_>>(), ["use-in-tests", "clientretry"]);
    assert_eq!(broken("README.md", "[a](no/such.md)"), ["README.md: no/such.md"]);
}
