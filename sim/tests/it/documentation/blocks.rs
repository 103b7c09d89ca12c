//! Code blocks of a Markdown file.

use std::ops::Range;

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    /// The words behind the opening fence, such as `console,slow`.
    pub(crate) language: &'a str,
    /// The number of its first line of text, from 1.
    pub(crate) line: usize,
    pub(crate) text: &'a str,
    /// The place of the text in the file, in bytes.
    pub(crate) place: Range<usize>,
}

/// Returns the fenced blocks of a file, in order.
pub(crate) fn blocks(markdown: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, usize, usize)> = None;
    let mut at = 0;
    for (index, line) in markdown.split_inclusive('\n').enumerate() {
        let end = at + line.len();
        match (line.strip_prefix("```"), open) {
            (Some(language), None) => open = Some((language.trim_end(), index + 2, end)),
            (Some(_), Some((language, line, start))) => {
                blocks.push(Block { language, line, text: &markdown[start..at], place: start..at });
                open = None;
            }
            (None, _) => {}
        }
        at = end;
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

#[test]
fn blocks_are_found_with_their_language_and_place() {
    let markdown = "text\n```toml\na = 1\n```\n\n```\nplain\n```\n";
    let found = blocks(markdown);
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].language, found[0].line, found[0].text), ("toml", 3, "a = 1\n"));
    assert_eq!((found[1].language, &markdown[found[1].place.clone()]), ("", "plain\n"));
}
