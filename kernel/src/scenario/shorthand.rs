//! Short ways to write a policy, so that one `--set` switches it: `client.hedging = "off"` is as if its table were not there,
//! and so is `servers.admission = "off"`; `client.hedging = "50ms"` is the table with that delay.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::policy::each_policy;

macro_rules! keys {
    ($($key:ident: $table:ident,)*) => {
        /// The tables that can be off, by the table that they are in.
        const SWITCHED: &[(&str, &[&str])] = &[("client", &[$( stringify!($key), )*]), ("servers", &["admission"])];
    };
}

each_policy!(keys);

/// Writes the short forms out.
pub(super) fn expand(document: &mut Spanned<DeTable<'_>>) {
    for (table, keys) in SWITCHED {
        let Some(table) = table_mut(document, table) else { continue };
        for key in *keys {
            if table.get(*key).and_then(|value| value.get_ref().as_str()) == Some("off") {
                table.remove(*key);
            }
        }
    }
    if let Some(hedging) = table_mut(document, "client").and_then(|client| client.get_mut("hedging"))
        && hedging.get_ref().is_str()
    {
        let span = hedging.span();
        let delay = std::mem::replace(hedging.get_mut(), DeValue::Table(DeTable::new()));
        if let DeValue::Table(table) = hedging.get_mut() {
            table.insert(Spanned::new(span.clone(), "hedging_delay".into()), Spanned::new(span, delay));
        }
    }
}

fn table_mut<'a, 'source>(document: &'a mut Spanned<DeTable<'source>>, key: &str) -> Option<&'a mut DeTable<'source>> {
    match document.get_mut().get_mut(key)?.get_mut() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::{policy::Policies, scenario::Scenario};

    #[test]
    fn what_is_off_is_as_if_its_table_were_not_there() {
        let text = include_str!("../../tests/example.toml");
        let parse = |settings: &[String]| Scenario::parse("story.toml", text, settings).unwrap();
        let keys: Vec<_> = super::SWITCHED
            .iter()
            .flat_map(|(table, keys)| keys.iter().map(move |key| format!("{table}.{key}")))
            .collect();
        let with = |value: &'static str| keys.iter().map(move |key| format!("{key}={value}"));
        let on: Vec<_> = ["client.retry.max_attempts=1".to_owned()].into_iter().chain(with("{}")).collect();
        let as_written = parse(&on);
        assert!(as_written.servers.admission.is_some() && as_written.client.policies.slow_start.is_some());
        let off: Vec<_> = on.into_iter().chain(with("off")).collect();
        let switched = parse(&off);
        assert_eq!((switched.servers.admission, switched.client.policies), (None, Policies::default()));
    }
}
