//! `sim keys`: the reference of the scenario format in the terminal.

use clap::Args;
use kernel::{
    cli::{Exit, Failure, print},
    scenario::reference::{ReferenceKey, reference},
    visible::Visible,
};

#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    /// The start of the keys to print, such as client.retry [default: all keys].
    prefix: Option<String>,
}

/// Prints the keys that start with the prefix.
pub(crate) fn run(args: &KeysArgs) -> Result<Exit, Failure> {
    let prefix = args.prefix.as_deref().unwrap_or_default();
    let keys: Vec<_> = reference().into_iter().filter(|key| key.path.starts_with(prefix)).collect();
    if keys.is_empty() {
        return Err(Failure::wrong_input(format!(
            "no key starts with `{}`; `sim keys` prints all keys, `sim keys client` those of a table",
            prefix.visible()
        )));
    }
    print(&keys.iter().map(text).collect::<Vec<_>>().join("\n"));
    Ok(Exit::Passed)
}

/// Returns the key as a block of lines: path and default, type and bounds, meaning.
fn text(key: &ReferenceKey) -> String {
    let value = match &key.default {
        Some(default) => format!(" = {default}"),
        None if key.is_required => "  (required)".to_owned(),
        None => "  (no default)".to_owned(),
    };
    let limits = key.limits.as_ref().map(|limits| format!(", {limits}")).unwrap_or_default();
    let kinds = if key.kinds.is_empty() { String::new() } else { format!("    only with {}\n", key.kinds.join(", ")) };
    format!("{}{value}\n    {}{limits}\n{kinds}    {}\n", key.path, key.type_name, key.doc)
}
