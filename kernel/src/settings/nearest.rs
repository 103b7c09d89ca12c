//! The name that was probably meant by a misspelt one, and lists of names for messages.

/// The most bytes of a text that is compared with names: beyond it no slip leads there, and comparing takes time and memory
/// in proportion.
const COMPARED_MAX: usize = 64;

/// Returns the name most like `text`, if one is so like it that it was probably meant.
pub fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if text.len() > COMPARED_MAX {
        return None;
    }
    let text = text.to_lowercase();
    let likeness = |name: &str| likeness(&text, &name.to_lowercase());
    names.filter(|name| is_near(&text, &name.to_lowercase())).max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

/// Returns how like each other the two are, from 0 to 1. Of names that contain the text, the one with the least besides is most like it.
fn likeness(text: &str, name: &str) -> f64 {
    let as_part = if name.contains(text) { 0.7 + 0.3 * text.len() as f64 / name.len() as f64 } else { 0.0 };
    strsim::jaro_winkler(text, name).max(as_part)
}

/// Returns true if the two differ by a slip or two of the keyboard or by the ending of a word, or if one is a part of the
/// other.
fn is_near(text: &str, name: &str) -> bool {
    let slips = strsim::damerau_levenshtein(text, name);
    let part = text.len() >= 4 && name.contains(text) || name.len() >= 4 && text.contains(name);
    slips <= text.len().max(name.len()) / 4 || strsim::jaro_winkler(text, name) >= 0.88 || part
}

/// Returns whether the two differ in one character, or in two that changed places.
pub(crate) fn is_a_slip(text: &str, name: &str) -> bool {
    text.len() <= COMPARED_MAX && strsim::damerau_levenshtein(text, name) == 1
}

pub(crate) fn backticked<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_the_one_that_was_meant() {
        let names = || {
            ["max_attempts", "initial_backoff", "max_backoff", "jitter", "adaptive_timeout", "attempt_timeout"]
                .into_iter()
        };
        for (text, meant) in [
            ("max_attemps", Some("max_attempts")),
            ("maxAttempts", Some("max_attempts")),
            ("JITTER", Some("jitter")),
            ("timeout", Some("attempt_timeout")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(text, names()), meant, "{text}");
        }
    }
}
