//! Standard output, and messages on standard error.
//!
//! What is written may quote files, options and other processes: characters that a terminal would obey are escaped.

use std::io::{self, Write};

use crate::visible::{Visible, printable};

/// The most characters of a message: a few mistakes with their places, or a list of names.
const MESSAGE_MAX: usize = 16_384;

/// Writes `text` to standard output.
///
/// An error is ignored: a reader such as `head` closes the pipe once it has what it needs, and the exit code of the
/// command must not depend on it. The macro `print!` panics there.
pub fn print(text: &str) {
    let _ = io::stdout().lock().write_all(printable(text).as_bytes());
}

/// Writes `message` to standard error, as a line or several. An error is ignored, as by [`print()`]; the macro `eprintln!`
/// panics there.
pub fn complain(message: &str) {
    let bounded = lines_within(message, MESSAGE_MAX);
    let _ = writeln!(io::stderr(), "{}", printable(&bounded));
}

/// Returns `text` without its middle if it has more than `most` characters, with its line breaks in any case.
fn lines_within(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    let lines = text.lines().map(|line| line.visible_within(most / 8).to_string());
    let mut kept = String::new();
    for line in lines {
        if kept.len() + line.len() > most {
            kept += "…";
            break;
        }
        kept += &line;
        kept += "\n";
    }
    kept.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_bounded_and_keeps_its_lines() {
        assert_eq!(lines_within("two\nlines", 100), "two\nlines");
        let long = format!("first\n{}\nlast", "x".repeat(1_000));
        assert_eq!(lines_within(&long, 80), "first\nxxxxx…(990 bytes)…xxxxx\nlast");
        let many = lines_within(&"line\n".repeat(1_000), 80);
        assert!(many.len() < 100 && many.ends_with("line\n…"), "{many}");
    }
}
