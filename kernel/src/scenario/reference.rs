//! The reference of the scenario format: every key of every table, from the declarations.

use super::TABLE;
use crate::settings::{KeyInfo, Presence, TableInfo, nearest::backticked, source::join};

/// A key of the scenario format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceKey {
    /// The path as `--set` takes it, such as `client.retry.max_attempts`; the number of a list's item is `N`.
    pub path: String,
    /// The kinds of its table that have the key, as TOML such as `kind = "slow"`; empty if every kind has it.
    pub kinds: Vec<String>,
    /// The type of the value.
    pub type_name: String,
    /// The bounds of the value.
    pub limits: Option<String>,
    /// The default as TOML; `None` if the key is required, or without effect while it is left out.
    pub default: Option<String>,
    /// True if a file must have the key.
    pub is_required: bool,
    /// The meaning of the key, in Markdown.
    pub doc: String,
}

/// Returns every key in the order in which a file is written.
///
/// ```
/// use kernel::scenario::reference::reference;
///
/// let keys = reference();
/// let rate = keys.iter().find(|key| key.path == "load.rate").expect("a scenario has a rate");
/// assert!(rate.is_required);
/// ```
pub fn reference() -> Vec<ReferenceKey> {
    let mut keys = Vec::new();
    add_table(TABLE, "", &mut keys);
    keys
}

fn add_table(table: &TableInfo, path: &str, keys: &mut Vec<ReferenceKey>) {
    for key in table.keys {
        add(entry(*key, path, Vec::new()), keys);
    }
    if let Some(kinds) = table.kinds {
        let names: Vec<_> = kinds.variants.iter().map(|(name, _)| *name).collect();
        add(
            ReferenceKey {
                path: join(path, kinds.key),
                kinds: Vec::new(),
                type_name: backticked(&names),
                limits: None,
                default: kinds.default.map(|name| format!("\"{}\"", name())),
                is_required: kinds.default.is_none(),
                doc: "The kind of the table, which decides on its further keys.".to_owned(),
            },
            keys,
        );
        for (name, variant) in kinds.variants {
            for key in variant.keys {
                add(entry(*key, path, vec![format!("{} = \"{name}\"", kinds.key)]), keys);
            }
        }
    }
    for (name, presence, inner) in table.tables {
        let path = join(path, name);
        let path = if *presence == Presence::List { join(&path, "N") } else { path };
        add_table(inner, &path, keys);
    }
}

fn entry(key: &dyn KeyInfo, path: &str, kinds: Vec<String>) -> ReferenceKey {
    ReferenceKey {
        path: join(path, key.name()),
        kinds,
        type_name: key.type_name(),
        limits: key.limits_text(),
        default: key.default_text(),
        is_required: key.is_required(),
        doc: one_line(key.doc()),
    }
}

/// Returns documentation without its line breaks.
pub(super) fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Adds a key, or its kind to the same key of another kind.
fn add(key: ReferenceKey, keys: &mut Vec<ReferenceKey>) {
    let same = keys.iter_mut().find(|other| ReferenceKey { kinds: key.kinds.clone(), ..(*other).clone() } == key);
    match same {
        Some(other) => other.kinds.extend(key.kinds),
        None => keys.push(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str) -> ReferenceKey {
        let found: Vec<_> = reference().into_iter().filter(|key| key.path == path).collect();
        assert_eq!(found.len(), 1, "{path}");
        found.into_iter().next().unwrap()
    }

    #[test]
    fn a_key_has_its_type_bounds_default_and_meaning() {
        let attempts = key("client.retry.max_attempts");
        assert_eq!((attempts.type_name.as_str(), attempts.default.as_deref()), ("integer", Some("3")));
        assert_eq!(attempts.limits.as_deref(), Some("1 to 100"));
        assert!(attempts.doc.starts_with("Attempts of a call"), "{}", attempts.doc);
        assert!(key("load.rate").is_required && key("load.rate").default.is_none());
    }

    #[test]
    fn a_key_of_several_kinds_is_one_entry_that_names_them() {
        assert_eq!(key("fault.N.factor").kinds, ["kind = \"slow\""]);
        assert_eq!(key("fault.N.duration").kinds.len(), 11);
        assert_eq!(key("workload.kind").default.as_deref(), Some("\"sobel\""));
        assert!(key("fault.N.kind").is_required);
    }

    #[test]
    fn every_key_has_a_meaning() {
        let keys = reference();
        assert!(keys.len() > 90, "{}", keys.len());
        keys.iter().for_each(|key| assert!(key.doc.ends_with('.') && !key.type_name.is_empty(), "{key:?}"));
    }
}
