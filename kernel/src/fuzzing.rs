//! Functions that take arbitrary bytes, and that must neither panic, nor hang, nor reserve memory that the bytes do not fill.
//!
//! The fuzz targets in `.fuzz` call them with what the fuzzer invents, and tests call them with the corpora of those targets.
//! A function that returns has passed, whether or not it accepted the bytes. Only tests and fuzz targets compile them, which
//! is why this page does not list them: `settings` for scenarios, overrides and service configs, `folder` for run folders,
//! `wire` for HTTP/2 at both ends and for any bytes through a link, on the host of `host`.

#[cfg(any(test, feature = "fuzzing"))]
pub mod folder;
#[cfg(all(any(test, feature = "fuzzing"), feature = "service"))]
pub(crate) mod host;
#[cfg(all(test, feature = "service"))]
pub(crate) mod network;
#[cfg(any(test, feature = "fuzzing"))]
pub mod settings;
#[cfg(all(any(test, feature = "fuzzing"), feature = "service"))]
pub mod wire;

use std::{fs, path::Path};

use crate::visible::is_hidden;

/// Longest error message that any input may cause, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Checks that `message` can be printed on a terminal, whatever input it quotes.
///
/// # Panics
///
/// Panics if it is longer than a message may be, or has a character that [`is_hidden`], other than a line break.
pub fn check_message(message: &str) {
    assert!(message.len() <= MESSAGE_BYTES_MAX, "a message of {} bytes", message.len());
    let hidden = message.chars().find(|&character| character != '\n' && is_hidden(character));
    assert!(hidden.is_none(), "a message with {hidden:?}: {message:?}");
}

/// Inputs that every function must take.
const PLAIN: [&[u8]; 7] =
    [b"", b"\0", b"\xff\xfe\xfd", b"\n\n\n", &[b'['; 4096], &[b'9'; 400], "\u{202e}\u{7}".as_bytes()];

/// Calls `check` with each file of `.fuzz/corpus/NAME`, and with some inputs that every function must take. `package` is the
/// folder of a package of this workspace.
///
/// # Panics
///
/// Panics if the corpus cannot be read, or it is empty.
pub fn replay(package: &str, name: &str, check: impl Fn(&[u8])) {
    let corpus = Path::new(package).join("../.fuzz/corpus").join(name);
    let entries = fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
    let files: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    assert!(!files.is_empty(), "{} is empty", corpus.display());
    for file in files {
        check(&fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    }
    PLAIN.into_iter().for_each(check);
}
