//! To the engines of Litmus, one for each fault: the experiments of one engine run one after the other.

use std::time::Duration;

use kernel::scenario::Scenario;

use super::{
    super::{
        node::{Data, Node},
        notes::Notes,
    },
    NAMESPACE, POD, Said, resource_name,
};

/// Returns the manifests, apart by `---`.
pub(super) fn write(scenario: &Scenario, said: &[Said<'_>], notes: &mut Notes) -> String {
    let name = resource_name(scenario);
    let engines = said.iter().enumerate().map(|(index, said)| {
        let number = scenario.faults.iter().position(|fault| std::ptr::eq(fault, said.fault)).unwrap_or(index);
        let verb = said.row.verb.split(' ').next().unwrap_or_default();
        let mut whole = |key: &str, time: Duration, least: u64| {
            let seconds = (time.as_secs_f64().round() as u64).max(least);
            if Duration::from_secs(seconds) != time {
                notes.add(
                    0,
                    format!("fault.{number}.{key}"),
                    format!("Litmus counts in whole seconds; it is {seconds}"),
                );
            }
            Node::text(seconds.to_string())
        };
        let lasts = match said.lasts() {
            _ if verb == "pod-delete" => Duration::from_secs(1),
            Some(lasts) => lasts,
            None => scenario.duration.saturating_sub(said.fault.at),
        };
        let mut variables =
            vec![("RAMP_TIME", whole("at", said.fault.at, 0)), ("TOTAL_CHAOS_DURATION", whole("duration", lasts, 1))];
        if verb == "pod-delete" {
            variables.push(("CHAOS_INTERVAL", Node::text("1")));
        }
        variables.push(("TARGET_PODS", Node::text(said.pods().join(","))));
        let said_there = said.verb.entries().iter().map(|(key, node)| (key.as_str(), quoted(node)));
        let variables = variables.into_iter().chain(said_there);
        let variables = variables.map(|(key, value)| Node::map([("name", Node::text(key)), ("value", value)]));
        let env = Node::list(variables);
        let experiment =
            Node::map([("name", Node::text(verb)), ("spec", Node::map([("components", Node::map([("env", env)]))]))]);
        let app = Node::map([
            ("appns", Node::text(NAMESPACE)),
            ("applabel", Node::text(format!("app={POD}"))),
            ("appkind", Node::text("statefulset")),
        ]);
        Node::map([
            ("apiVersion", Node::text("litmuschaos.io/v1alpha1")),
            ("kind", Node::text("ChaosEngine")),
            (
                "metadata",
                Node::map([("name", Node::text(format!("{name}-{number}"))), ("namespace", Node::text(NAMESPACE))]),
            ),
            (
                "spec",
                Node::map([
                    ("engineState", Node::text("active")),
                    ("appinfo", app),
                    ("chaosServiceAccount", Node::text("litmus-admin")),
                    ("experiments", Node::list([experiment])),
                ]),
            ),
        ])
        .to_yaml()
    });
    engines.collect::<Vec<_>>().join("---\n")
}

/// Returns a value as a text: an environment has no numbers.
fn quoted(node: &Node) -> Node {
    match &node.data {
        Data::Scalar { text, .. } => Node::text(text),
        _ => node.clone(),
    }
}
