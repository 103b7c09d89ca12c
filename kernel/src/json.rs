//! JSON documents as they are written to files and to standard output.

use serde::Serialize;

/// Returns `value` as JSON over several lines, with a line break at the end.
///
/// # Panics
///
/// Panics if a map in `value` has keys that are not strings, or if a `Serialize` of `value` fails; plain data never does.
pub fn pretty(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string_pretty(value).expect("plain data is always written") + "\n"
}
