//! To the proxies of toxiproxy, with their toxics.

use kernel::scenario::{Scenario, server_name};

use super::{
    super::{node::Node, notes::Notes},
    Said,
};

/// The ports of the first proxy, and of the first server.
const LISTEN: usize = 26_051;
const UPSTREAM: usize = 50_051;

/// Returns one proxy for each server, in the shape of the answer to `GET /proxies`.
pub(super) fn write(scenario: &Scenario, said: &[Said<'_>], notes: &mut Notes) -> String {
    if !said.is_empty() {
        notes.add(0, "fault", "a toxic has no times: it acts from when it is added until it is removed; add and remove it at the times of the fault");
    }
    let proxies = (0..scenario.servers.replicas).map(|index| {
        let name = server_name(index);
        let mine = || said.iter().filter(|said| said.fault.targets.contains(&index));
        let is_enabled = mine().all(|said| said.row.verb != "enabled: false");
        let mut toxics: Vec<Node> = Vec::new();
        for (kind, said) in mine().filter_map(|said| said.row.verb.strip_prefix("toxic ").map(|kind| (kind, said))) {
            let toxic = toxic(kind, said);
            // The occurrences of a fault differ in their times alone.
            if !toxics.contains(&toxic) {
                toxics.push(toxic);
            }
        }
        let number = |(number, toxic): (usize, &mut Node)| {
            let name = format!("{}_{number}", toxic.str("type").unwrap_or_default());
            toxic.set("name", Node::text(name));
        };
        toxics.iter_mut().enumerate().for_each(number);
        Node::map([
            ("name", Node::text(&*name)),
            ("listen", Node::text(format!("127.0.0.1:{}", LISTEN + index))),
            ("upstream", Node::text(format!("127.0.0.1:{}", UPSTREAM + index))),
            ("enabled", Node::plain(is_enabled)),
            ("toxics", Node::list(toxics)),
        ])
    });
    Node::list(proxies).to_json()
}

/// Returns a toxic, still without its name.
fn toxic(kind: &str, said: &Said<'_>) -> Node {
    let mut toxic = Node::map([("name", Node::text("")), ("type", Node::text(kind))]);
    said.verb.entries().iter().for_each(|(key, node)| toxic.set(key, node.clone()));
    for (key, default) in [("stream", Node::text("downstream")), ("toxicity", Node::plain("1.0"))] {
        if toxic.get(key).is_none() {
            toxic.set(key, default);
        }
    }
    toxic
}
