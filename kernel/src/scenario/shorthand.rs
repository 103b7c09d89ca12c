//! Short ways to write a policy, so that one `--set` switches it: `client.hedging = "off"` is as if its table were not there,
//! and `client.hedging = "50ms"` is the table with that delay.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::policy::each_policy;

macro_rules! keys {
    ($($key:ident: $table:ident,)*) => {
        /// The policies' keys in `[client]`.
        const KEYS: &[&str] = &[$( stringify!($key), )*];
    };
}

each_policy!(keys);

/// Writes the short forms out.
pub(super) fn expand(document: &mut Spanned<DeTable<'_>>) {
    let Some(DeValue::Table(client)) = document.get_mut().get_mut("client").map(Spanned::get_mut) else { return };
    for key in KEYS {
        if client.get(*key).and_then(|value| value.get_ref().as_str()) == Some("off") {
            client.remove(*key);
        }
    }
    if let Some(hedging) = client.get_mut("hedging")
        && hedging.get_ref().is_str()
    {
        let span = hedging.span();
        let delay = std::mem::replace(hedging.get_mut(), DeValue::Table(DeTable::new()));
        if let DeValue::Table(table) = hedging.get_mut() {
            table.insert(Spanned::new(span.clone(), "hedging_delay".into()), Spanned::new(span, delay));
        }
    }
}
