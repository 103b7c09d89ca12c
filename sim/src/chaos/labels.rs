//! Which servers the pods with certain labels are.

use std::str::FromStr;

use kernel::scenario::server_name;

use super::node::Node;

/// The label of the StatefulSet in `real/deploy/kubernetes`, which all of its pods have.
const OWN: (&str, &str) = ("app", "sobel");

/// The labels that Kubernetes gives each pod of a StatefulSet: its name, and the number at the end of it.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The numbers of servers end before this one, as those at the end of names do.
const SERVERS_MAX: usize = 1_000;

/// The servers whose pods have some labels: a value of `--select`, such as `app=web,tier=front:server-1,server-2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    labels: Vec<(String, String)>,
    servers: Vec<usize>,
}

impl FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (labels, servers) = text.split_once(':').ok_or_else(|| wrong("there is no `:` behind the labels"))?;
        let labels = labels.split(',').map(parse_label).collect::<Result<_, _>>()?;
        let mut servers = servers.split(',').map(parse_server).collect::<Result<Vec<_>, _>>()?;
        servers.sort_unstable();
        servers.dedup();
        Ok(Self { labels, servers })
    }
}

fn parse_label(label: &str) -> Result<(String, String), String> {
    match label.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(wrong(&format!("`{label}` is no label with a value"))),
    }
}

fn parse_server(name: &str) -> Result<usize, String> {
    let number = name.strip_prefix("server-").and_then(|number| number.parse().ok());
    let number = number.filter(|number| *number < SERVERS_MAX && server_name(*number) == name);
    number.ok_or_else(|| wrong(&format!("`{name}` is no name of a server")))
}

fn wrong(what: &str) -> String {
    format!("{what}; write LABEL=VALUE:SERVERS, such as app=web:server-1,server-2")
}

/// Servers that a selector selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selected {
    /// All that there are.
    All,
    /// These, in order.
    Servers(Vec<usize>),
}

impl Selected {
    /// Returns the servers that both select.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, other) | (other, Self::All) => other,
            (Self::Servers(own), Self::Servers(other)) => {
                Self::Servers(own.into_iter().filter(|server| other.contains(server)).collect())
            }
        }
    }

    /// Returns the servers that one of both selects.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Servers(mut own), Self::Servers(other)) => {
                own.extend(other);
                own.sort_unstable();
                own.dedup();
                Self::Servers(own)
            }
            _ => Self::All,
        }
    }
}

/// What is known of labels: those of `real/deploy/kubernetes`, those that Kubernetes gives the pods of a StatefulSet, and selections.
#[derive(Debug, Clone, Default)]
pub(super) struct Labels(Vec<Selection>);

impl Labels {
    /// Adds these selections to what is known.
    pub(super) fn with(selections: &[Selection]) -> Self {
        Self(selections.to_vec())
    }

    /// Returns the servers whose pods have a label with this value. Fails with what is missing if none is known.
    fn of_label(&self, key: &str, value: &str) -> Result<Selected, String> {
        let is_of = |selection: &&Selection| selection.labels.iter().any(|(own, has)| (&**own, &**has) == (key, value));
        let said = self.0.iter().filter(is_of).map(|selection| Selected::Servers(selection.servers.clone()));
        if let Some(selected) = said.reduce(Selected::or) {
            return Ok(selected);
        }
        let number = match key {
            POD_INDEX => value.parse().ok().filter(|number| *number < SERVERS_MAX),
            POD_NAME => super::from::trailing_number(value),
            _ if (key, value) == OWN => return Ok(Selected::All),
            _ => None,
        };
        number.map(|number| Selected::Servers(vec![number])).ok_or_else(|| {
            format!("it is not known which servers have `{key}={value}`; say it by --select '{key}={value}:server-0,server-1'")
        })
    }

    /// Returns the servers that have one of these values of a label.
    fn of_values<'a>(&self, key: &str, values: impl Iterator<Item = &'a str>) -> Result<Selected, String> {
        let found = values.map(|value| self.of_label(key, value)).collect::<Result<Vec<_>, _>>()?;
        Ok(found.into_iter().reduce(Selected::or).unwrap_or_else(|| Selected::Servers(Vec::new())))
    }

    /// Returns the servers that a `selector` of Chaos Mesh selects by labels; `None` if it has none.
    pub(super) fn of_selector(&self, selector: &Node) -> Option<Result<Selected, String>> {
        let labels = selector.get("labelSelectors").and_then(|labels| self.of_labels(labels));
        let mut found: Vec<_> = labels.into_iter().collect();
        for expression in selector.get("expressionSelectors").map_or(&[][..], Node::items) {
            let key = expression.str("key").unwrap_or_default();
            let values = expression.get("values").map_or(&[][..], Node::items).iter().filter_map(Node::as_str);
            found.push(match expression.str("operator") {
                Some("In") => self.of_values(key, values),
                operator => {
                    let operator = operator.unwrap_or_default();
                    Err(format!(
                        "the operator `{operator}` is not resolved; name the pods, or the labels that they have by `In`"
                    ))
                }
            });
        }
        intersection(found)
    }

    /// Returns the servers that labels select, as a mapping or as a text; `None` if there are none.
    pub(super) fn of_labels(&self, labels: &Node) -> Option<Result<Selected, String>> {
        match labels.as_str() {
            Some(text) => self.of_text(text),
            None => {
                let of_label = |(key, value): &(String, Node)| self.of_label(key, value.as_str().unwrap_or_default());
                intersection(labels.entries().iter().map(of_label).collect())
            }
        }
    }

    /// Returns the servers that labels such as `app=web,tier=front` select, as `kubectl` takes them; `None` if there are none.
    fn of_text(&self, text: &str) -> Option<Result<Selected, String>> {
        let labels = text.split(',').map(str::trim).filter(|label| !label.is_empty());
        let of_label = |label: &str| match label.split_once('=') {
            Some((key, value)) if !key.ends_with('!') => {
                self.of_label(key.trim(), value.trim_start_matches('=').trim())
            }
            _ => Err(format!("`{label}` is not resolved; write labels such as app=web")),
        };
        intersection(labels.map(of_label).collect())
    }
}

/// Returns the servers that all of these select; `None` of nothing, and the first error.
fn intersection(all: Vec<Result<Selected, String>>) -> Option<Result<Selected, String>> {
    let all: Result<Vec<_>, _> = all.into_iter().collect();
    match all.map(|all| all.into_iter().reduce(Selected::and)) {
        Err(why) => Some(Err(why)),
        Ok(None) => None,
        Ok(Some(Selected::Servers(servers))) if servers.is_empty() => {
            Some(Err("no server has all of these labels".to_owned()))
        }
        Ok(Some(selected)) => Some(Ok(selected)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(selections: &[&str]) -> Labels {
        Labels::with(&selections.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
    }

    fn servers(numbers: &[usize]) -> Selected {
        Selected::Servers(numbers.to_vec())
    }

    #[test]
    fn a_selection_has_labels_and_servers() {
        let selection: Selection = "app=web,tier=front:server-2,server-1,server-2".parse().unwrap();
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(selection.labels, [label("app", "web"), label("tier", "front")]);
        assert_eq!(selection.servers, [1, 2]);
        for (wrong, words) in [
            ("app=web", "there is no `:`"),
            ("app:server-0", "`app` is no label"),
            ("app=:server-0", "`app=` is no label"),
            ("app=web:", "`` is no name of a server"),
            ("app=web:web-0", "`web-0` is no name of a server"),
            ("app=web:server-01", "`server-01` is no name"),
            ("app=web:server-1000", "`server-1000` is no name"),
        ] {
            let message = wrong.parse::<Selection>().unwrap_err();
            assert!(message.contains(words) && message.contains("such as app=web:server-1,server-2"), "{message}");
        }
    }

    #[test]
    fn labels_of_the_own_manifests_and_of_statefulsets_are_known() {
        let known = labels(&[]);
        assert_eq!(known.of_text("app=sobel").unwrap().unwrap(), Selected::All);
        assert_eq!(known.of_text("app=sobel,apps.kubernetes.io/pod-index=2").unwrap().unwrap(), servers(&[2]));
        assert_eq!(known.of_text("statefulset.kubernetes.io/pod-name == web-7").unwrap().unwrap(), servers(&[7]));
        let unknown = known.of_text("app=web").unwrap().unwrap_err();
        assert!(
            unknown.contains("which servers have `app=web`; say it by --select 'app=web:server-0,server-1'"),
            "{unknown}"
        );
        assert!(known.of_text("app!=web").unwrap().unwrap_err().contains("is not resolved"));
        assert!(known.of_text("").is_none());
    }

    #[test]
    fn a_selector_selects_what_has_all_of_its_labels() {
        let known =
            labels(&["app=web,tier=front:server-0,server-1", "app=web,tier=back:server-2", "app=sobel:server-4"]);
        assert_eq!(known.of_text("app=web").unwrap().unwrap(), servers(&[0, 1, 2]));
        assert_eq!(known.of_text("app=web,tier=back").unwrap().unwrap(), servers(&[2]));
        // What is said comes before what is known.
        assert_eq!(known.of_text("app=sobel").unwrap().unwrap(), servers(&[4]));
        let none = known.of_text("app=sobel,tier=back").unwrap().unwrap_err();
        assert_eq!(none, "no server has all of these labels");
        let selector = |yaml: &str| known.of_selector(&super::super::node::read(yaml).unwrap()[0]);
        let both =
            "labelSelectors: { app: web }\nexpressionSelectors: [{ key: tier, operator: In, values: [back, front] }]\n";
        assert_eq!(selector(both).unwrap().unwrap(), servers(&[0, 1, 2]));
        let not = "expressionSelectors: [{ key: tier, operator: NotIn, values: [back] }]\n";
        assert!(selector(not).unwrap().unwrap_err().contains("the operator `NotIn` is not resolved"));
        assert!(selector("namespaces: [x]\n").is_none());
    }
}
