//! Standard output.

use std::io::{self, Write};

/// Writes `text` to standard output.
///
/// An error is ignored: a reader such as `head` closes the pipe once it has what it needs, and the exit code of the
/// command must not depend on it. The macro `print!` panics there.
pub fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}
