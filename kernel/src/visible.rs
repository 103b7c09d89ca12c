//! Text from outside in messages: names of files, values of options, and what files and other processes say.
//!
//! Such text may be long, and may have characters that change what a terminal shows: escape sequences, line breaks, marks
//! that turn the direction of writing. Messages show it by [`Visible::visible`], on one line of bounded length; what is
//! printed as a whole goes through [`printable`].

use std::{
    borrow::Cow,
    ffi::OsStr,
    fmt::{self, Write},
    path::Path,
};

/// The most characters of one text that [`Visible::visible`] shows: twice the longest name of a file.
pub const SHOWN_MAX: usize = 512;

/// Text from outside.
pub trait Visible {
    /// Returns the text as a message shows it: on one line, characters that a terminal does not show as escapes such as
    /// `\u001b`, and the middle left out of a text of more than [`SHOWN_MAX`] characters.
    ///
    /// ```
    /// use kernel::visible::Visible;
    ///
    /// assert_eq!("a\u{1b}[2Jb\n".visible().to_string(), r"a\u001b[2Jb\n");
    /// assert_eq!("grün.toml".visible().to_string(), "grün.toml");
    /// ```
    fn visible(&self) -> Shown<'_> {
        self.visible_within(SHOWN_MAX)
    }

    /// Like [`Visible::visible`], with another number of characters beyond which the middle is left out.
    fn visible_within(&self, most: usize) -> Shown<'_>;
}

impl Visible for str {
    fn visible_within(&self, most: usize) -> Shown<'_> {
        Shown { text: self.into(), most }
    }
}

impl Visible for OsStr {
    fn visible_within(&self, most: usize) -> Shown<'_> {
        Shown { text: self.to_string_lossy(), most }
    }
}

impl Visible for Path {
    fn visible_within(&self, most: usize) -> Shown<'_> {
        self.as_os_str().visible_within(most)
    }
}

/// Text from outside that is being written into a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown<'a> {
    text: Cow<'a, str>,
    most: usize,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bytes are as many as characters or more: the usual short text is not counted.
        if self.text.len() <= self.most || self.text.chars().nth(self.most).is_none() {
            return escape(f, &self.text, is_hidden);
        }
        let half = self.most / 2;
        let start_end = self.text.char_indices().nth(half).map_or(self.text.len(), |(at, _)| at);
        let end_start = self.text[start_end..].char_indices().rev().nth(half.saturating_sub(1));
        let end_start = end_start.map_or(start_end, |(at, _)| start_end + at);
        escape(f, &self.text[..start_end], is_hidden)?;
        if end_start > start_end {
            write!(f, "…({} bytes)…", end_start - start_end)?;
        }
        escape(f, &self.text[end_start..], is_hidden)
    }
}

/// Returns a text of several lines as a terminal may show it: all but line breaks, tabs and visible characters are escaped as
/// in JSON, so that a JSON document stays one.
///
/// ```
/// use kernel::visible::printable;
///
/// assert_eq!(printable("two\nlines \u{202e}"), "two\nlines \\u202e");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden_in_lines) {
        return text.into();
    }
    let mut printable = String::with_capacity(text.len() + 16);
    // Writing to a string cannot fail.
    let _ = escape(&mut printable, text, is_hidden_in_lines);
    printable.into()
}

/// Returns whether a terminal does not show this character as one, or shows what is around it differently because of it.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn is_hidden_in_lines(character: char) -> bool {
    is_hidden(character) && !matches!(character, '\n' | '\t')
}

/// Writes `text` with those characters escaped as in JSON that `is_escaped` returns true for.
fn escape(to: &mut impl Write, text: &str, is_escaped: fn(char) -> bool) -> fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(is_escaped) {
        let character = rest[at..].chars().next().expect("it was found there");
        to.write_str(&rest[..at])?;
        match character {
            '\n' => to.write_str("\\n")?,
            '\r' => to.write_str("\\r")?,
            '\t' => to.write_str("\\t")?,
            other => other.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(to, "\\u{unit:04x}"))?,
        }
        rest = &rest[at + character.len_utf8()..];
    }
    to.write_str(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        for (text, shown) in [
            ("\u{1b}]0;title\u{7}", r"\u001b]0;title\u0007"),
            ("\u{9b}31m", r"\u009b31m"),
            ("a\r\n\tb\0", r"a\r\n\tb\u0000"),
            ("\u{202e}txt.exe\u{2066}", r"\u202etxt.exe\u2066"),
            ("\u{feff}\u{200b}\u{2028}", r"\ufeff\u200b\u2028"),
            ("\u{e0041}", r"\udb40\udc41"),
        ] {
            assert_eq!(text.visible().to_string(), shown);
        }
        assert_eq!(Path::new("größe 日本 👍").visible().to_string(), "größe 日本 👍");
    }

    #[test]
    fn a_long_text_keeps_its_start_and_its_end() {
        let long = format!("start{}end", "x".repeat(10_000));
        let shown = long.visible_within(20).to_string();
        assert_eq!(shown, "startxxxxx…(9988 bytes)…xxxxxxxend");
        assert_eq!("äöü".visible_within(3).to_string(), "äöü", "three characters, and six bytes");
        assert_eq!("äöüä".visible_within(2).to_string(), "ä…(4 bytes)…ä");
    }

    #[test]
    fn escapes_of_a_document_are_those_of_json() {
        let json = serde_json::to_string_pretty(&["\u{7f}\u{202e}\u{e0041}\u{1b}"]).unwrap();
        let printed = printable(&json);
        assert!(!printed.contains(is_hidden_in_lines));
        assert_eq!(serde_json::from_str::<Vec<String>>(&printed).unwrap(), ["\u{7f}\u{202e}\u{e0041}\u{1b}"]);
    }

    proptest! {
        #[test]
        fn no_text_gets_a_hidden_character_through(text: String, most in 0_usize..40) {
            let shown = text.visible_within(most).to_string();
            prop_assert!(!shown.contains(is_hidden), "{shown:?}");
            // An escape has up to twelve characters.
            prop_assert!(shown.chars().count() <= 12 * most + 30);
            prop_assert!(!printable(&text).contains(is_hidden_in_lines));
        }
    }
}
