//! The reader of proxies of toxiproxy.

use std::time::Duration;

use super::{
    super::{
        draft::{Draft, Outline, Targets},
        node::{Data, Node},
        notes::Wrong,
        table::{Tool, row},
    },
    Names, unknown_verb,
};

/// Adds the toxics of a configuration, of the answer to `GET /proxies`, or of one proxy.
pub(super) fn read(document: &Node, at: Duration, outline: &mut Outline) -> Result<(), Wrong> {
    let document = document.get("proxies").unwrap_or(document);
    let one = document.get("upstream").is_some();
    let proxies: Vec<(Option<&str>, &Node)> = match &document.data {
        Data::List(items) => items.iter().map(|proxy| (proxy.str("name"), proxy)).collect(),
        _ if one => vec![(document.str("name"), document)],
        _ => document.entries().iter().map(|(name, proxy)| (Some(name.as_str()), proxy)).collect(),
    };
    let mut names = Names::default();
    let numbered = proxies.iter().all(|(name, _)| name.and_then(super::trailing_number).is_some());
    for (position, (name, proxy)) in proxies.iter().enumerate() {
        let name = name
            .ok_or_else(|| Wrong::at(proxy.line, "the proxy has no `name`").help("every proxy of toxiproxy has one"))?;
        let index = if numbered { names.index(name) } else { position };
        let targets = Targets::Servers(vec![index]);
        if proxy.str("enabled") == Some("false") {
            let row = row(Tool::Toxiproxy, "enabled: false")
                .ok_or_else(|| unknown_verb(Tool::Toxiproxy, proxy.line, "enabled"))?;
            let verb = Node { line: proxy.line_of("enabled"), ..Node::map([]) };
            outline.faults.extend(Draft::read(row, &verb, at, targets.clone(), &[], &mut outline.notes));
        }
        for toxic in proxy.get("toxics").map_or(&[][..], Node::items) {
            let kind = toxic
                .str("type")
                .ok_or_else(|| Wrong::at(toxic.line, "the toxic has no `type`").help("such as `latency`"))?;
            let verb = format!("toxic {kind}");
            let row = row(Tool::Toxiproxy, &verb)
                .ok_or_else(|| unknown_verb(Tool::Toxiproxy, toxic.line_of("type"), &verb))?;
            let known = ["name", "type"];
            let draft = Draft::read(row, toxic, at, targets.clone(), &known, &mut outline.notes);
            if let Some(mut draft) = draft {
                draft.lasts_to_the_end = draft.kind == "reset";
                // All of the connections is no share.
                draft.keys.retain(|(key, value)| *key != "share" || value != "1.0");
                join_ways(&mut outline.faults, draft);
            }
        }
    }
    outline.replicas = Some(proxies.len().max(1));
    Ok(())
}

/// Adds a fault. Two toxics that are equal but for their streams are one fault both ways.
fn join_ways(faults: &mut Vec<Draft>, draft: Draft) {
    let without_way = |draft: &Draft| {
        let mut draft = Draft { line: 0, ..draft.clone() };
        draft.keys.retain(|(key, _)| *key != "direction");
        draft
    };
    let has_way = |draft: &Draft| draft.keys.iter().find(|(key, _)| *key == "direction").map(|(_, way)| way.clone());
    let other = faults.iter_mut().find(|other| {
        without_way(other) == without_way(&draft) && has_way(other).is_some() && has_way(other) != has_way(&draft)
    });
    match other.filter(|_| has_way(&draft).is_some()) {
        Some(other) => other.keys.retain(|(key, _)| *key != "direction"),
        None => faults.push(draft),
    }
}
