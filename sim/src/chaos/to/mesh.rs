//! To a `Workflow` of Chaos Mesh, which has the times of the faults.

use kernel::scenario::Scenario;

use super::{super::node::Node, NAMESPACE, Said, go, resource_name};

/// Returns a manifest.
pub(super) fn write(scenario: &Scenario, said: &[Said<'_>]) -> String {
    let names: Vec<String> = (0..said.len()).map(|index| format!("fault-{index}")).collect();
    let mut templates = vec![Node::map([
        ("name", Node::text("all")),
        ("templateType", Node::text("Parallel")),
        ("children", Node::list(names.iter().map(Node::text))),
    ])];
    for (said, name) in said.iter().zip(&names) {
        let [wait, act] = ["wait", "act"].map(|part| format!("{name}-{part}"));
        templates.push(Node::map([
            ("name", Node::text(name)),
            ("templateType", Node::text("Serial")),
            ("children", Node::list([&wait, &act].map(Node::text))),
        ]));
        templates.push(Node::map([
            ("name", Node::text(wait)),
            ("templateType", Node::text("Suspend")),
            ("deadline", Node::text(go(said.fault.at))),
        ]));
        templates.push(template(said, act));
    }
    Node::map([
        ("apiVersion", Node::text("chaos-mesh.org/v1alpha1")),
        ("kind", Node::text("Workflow")),
        ("metadata", Node::map([("name", Node::text(resource_name(scenario))), ("namespace", Node::text(NAMESPACE))])),
        ("spec", Node::map([("entry", Node::text("all")), ("templates", Node::list(templates))])),
    ])
    .to_yaml()
}

fn template(said: &Said<'_>, name: String) -> Node {
    let mut words = said.row.verb.split(' ');
    let kind = words.next().unwrap_or_default();
    let action = words.next();
    let key = match kind {
        "PodChaos" => "podChaos",
        "NetworkChaos" => "networkChaos",
        "HTTPChaos" => "httpChaos",
        _ => "stressChaos",
    };
    let mut spec = Node::map([]);
    if let Some(action) = action.filter(|_| matches!(kind, "PodChaos" | "NetworkChaos")) {
        spec.set("action", Node::text(action));
    }
    spec.set("mode", Node::text("all"));
    let pods = Node::map([(NAMESPACE, Node::list(said.pods().into_iter().map(Node::text)))]);
    spec.set("selector", Node::map([("pods", pods)]));
    if kind == "HTTPChaos" {
        let side = if said.verb.get("replace").is_some() { "Response" } else { "Request" };
        spec.set("target", Node::text(side));
        spec.set("port", Node::plain(50_051));
        spec.set("path", Node::text("*"));
    }
    said.verb.entries().iter().for_each(|(field, node)| spec.set(field, node.clone()));
    let mut template = Node::map([("name", Node::text(name)), ("templateType", Node::text(kind))]);
    if let Some(lasts) = said.lasts().filter(|_| action != Some("pod-kill")) {
        template.set("deadline", Node::text(go(lasts)));
    }
    template.set(key, spec);
    template
}
