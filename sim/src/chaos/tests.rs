//! There and back again: what both a scenario and a document can say stays what it is.

use std::{collections::BTreeMap, time::Duration};

use clap::ValueEnum;
use kernel::scenario::{Fault, Scenario};

use super::{
    Selection, Tool, document_of,
    node::{Data, Node},
    scenario_of,
};

const AT: Duration = Duration::from_secs(10);

/// Returns each fault on each of its servers, with its number in the scenario. toxiproxy has no times.
fn single(scenario: &Scenario, tool: Tool) -> Vec<(usize, String)> {
    let of_servers = |(index, fault): (usize, &Fault)| {
        let fault = fault.clone();
        fault.targets.clone().into_iter().map(move |target| {
            let text = Fault { targets: vec![target], ..fault.clone() }.to_string();
            let keys: Vec<_> = text.trim_matches(['{', '}', ' ']).split(", ").map(str::to_owned).collect();
            let is_time =
                |key: &String| ["at = ", "duration = ", "restart_after = "].iter().any(|time| key.starts_with(time));
            let keys: Vec<_> = keys.into_iter().filter(|key| tool != Tool::Toxiproxy || !is_time(key)).collect();
            (index, keys.join(", "))
        })
    };
    scenario.faults.iter().enumerate().flat_map(of_servers).collect()
}

/// Returns a time as a whole number of seconds.
fn whole(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs().max(1))
}

fn counted(faults: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    faults.for_each(|fault| *counts.entry(fault).or_default() += 1);
    counts
}

#[test]
fn what_both_can_say_is_the_same_there_and_back() {
    for tool in Tool::value_variants() {
        let mut kinds = vec![
            "crash",
            "drain",
            "freeze",
            "delay",
            "partition",
            "half_open",
            "loss",
            "bandwidth",
            "reset",
            "errors",
            "slow",
        ];
        // The only tool that has verbs for them.
        if *tool == Tool::ChaosToolkit {
            kinds.extend(["certificate_expired", "certificate_untrusted"]);
        }
        let text = format!(
            "name = \"drawn\"\nduration = \"60s\"\nservers.replicas = 5\nload.rate = 5\ntls = {{}}\n\
             nemesis = {{ variants = true, swarm = false, faults_min = 2, faults_max = 8, kinds = {kinds:?} }}\n"
        );
        let base = Scenario::parse("drawn.toml", &text, &[]).unwrap();
        let mut said = 0;
        let mut drawn = 0;
        for seed in 0..400 {
            let mut scenario = base.explicit(seed);
            // Milliseconds for seconds, so that tools which count in seconds can say them.
            if *tool == Tool::Litmus {
                for fault in &mut scenario.faults {
                    fault.at = whole(fault.at);
                    let lasts = fault.kind.lasts().map(whole);
                    lasts.into_iter().for_each(|lasts| fault.kind.hold_for(lasts));
                }
            }
            let (document, notes) = document_of(&scenario, *tool);
            let is_noted = |index: usize| {
                let name = format!("fault.{index}");
                notes.iter().any(|note| note.field == name || note.field.starts_with(&format!("{name}.")))
            };
            let all = single(&scenario, *tool);
            drawn += all.len();
            // Toxics without times are in force at once, so that two faults of one kind at one server are one fault there.
            let of = |fault: &Fault| fault.kind.name();
            let is_single = |index: usize| {
                let fault = &scenario.faults[index];
                let like = |other: &&Fault| {
                    of(other) == of(fault) && other.targets.iter().any(|it| fault.targets.contains(it))
                };
                *tool != Tool::Toxiproxy || scenario.faults.iter().filter(like).count() == 1
            };
            let is_exact = |index: usize| !is_noted(index) && is_single(index);
            let exact: Vec<_> = all.into_iter().filter(|(index, _)| is_exact(*index)).map(|(_, fault)| fault).collect();
            said += exact.len();
            let back = match scenario_of(&document, AT, None, &[]) {
                Ok((text, _)) => Scenario::parse("back.toml", &text, &[]).unwrap(),
                Err(_) if exact.is_empty() => continue,
                Err(wrong) => panic!("seed {seed}: {wrong:?}\n{document}"),
            };
            let found = counted(single(&back, *tool).into_iter().map(|(_, fault)| fault));
            for (fault, count) in counted(exact.into_iter()) {
                assert!(
                    found.get(&fault).is_some_and(|found| *found >= count || *tool == Tool::Toxiproxy),
                    "seed {seed}: {fault}\n{document}\n{}",
                    back.to_toml()
                );
            }
        }
        assert!(said * 10 > drawn, "{tool:?}: {said} of {drawn} faults");
    }
}

/// Replaces the pods that a manifest of Chaos Mesh names by what `selector` makes of their numbers.
fn with_selectors(document: &str, selector: &dyn Fn(&[usize]) -> Node) -> String {
    let mut workflow = super::node::read(document).unwrap().remove(0);
    let Some(Data::Map(spec)) = workflow.get("spec").map(|spec| spec.data.clone()) else { panic!("{document}") };
    let mut spec = Node::map(spec.iter().map(|(key, node)| (key.as_str(), node.clone())));
    let mut templates = spec.get("templates").unwrap().items().to_vec();
    for template in &mut templates {
        for key in ["podChaos", "networkChaos", "httpChaos", "stressChaos"] {
            let Some(pods) = template.get(&format!("{key}.selector.pods.rehearsal")) else { continue };
            let number = |pod: &Node| super::from::trailing_number(pod.as_str().unwrap()).unwrap();
            let numbers: Vec<usize> = pods.items().iter().map(number).collect();
            template.set(&format!("{key}.selector"), selector(&numbers));
        }
    }
    spec.set("templates", Node::list(templates));
    workflow.set("spec", spec);
    workflow.to_yaml()
}

#[test]
fn pods_that_labels_select_are_those_that_names_do() {
    let text = "name = \"drawn\"\nduration = \"60s\"\nservers.replicas = 4\nload.rate = 5\nnemesis = { variants = true, faults_max = 8 }\n";
    let base = Scenario::parse("drawn.toml", text, &[]).unwrap();
    let set = |numbers: &[usize]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>();
    let by_index = |numbers: &[usize]| {
        let expression = Node::map([
            ("key", Node::text("apps.kubernetes.io/pod-index")),
            ("operator", Node::text("In")),
            ("values", Node::list(set(numbers).into_iter().map(Node::text))),
        ]);
        Node::map([("expressionSelectors", Node::list([expression]))])
    };
    let by_label =
        |numbers: &[usize]| Node::map([("labelSelectors", Node::map([("set", Node::text(set(numbers).join("-")))]))]);
    // Each set of the four servers has a label of its own.
    let sets = (1..16_usize).map(|bits| (0..4).filter(|server| bits >> server & 1 == 1).collect::<Vec<usize>>());
    let selections: Vec<Selection> = sets
        .map(|servers| {
            let names = set(&servers).iter().map(|number| format!("server-{number}")).collect::<Vec<_>>().join(",");
            format!("set={}:{names}", set(&servers).join("-")).parse().unwrap()
        })
        .collect();
    let mut compared = 0;
    for seed in 0..100 {
        let (document, _) = document_of(&base.explicit(seed), Tool::ChaosMesh);
        let Ok(named) = scenario_of(&document, AT, None, &[]) else { continue };
        let by_index = with_selectors(&document, &by_index);
        let by_label = with_selectors(&document, &by_label);
        assert_eq!(scenario_of(&by_index, AT, None, &[]).unwrap().0, named.0, "{by_index}");
        assert_eq!(scenario_of(&by_label, AT, None, &selections).unwrap().0, named.0, "{by_label}");
        compared += 1;
    }
    assert!(compared > 80, "{compared}");
}

/// The fields of a manifest that Chaos Mesh documents for each kind of chaos, beside those of the selection.
const MESH_FIELDS: [(&str, &str, &[&str]); 4] = [
    ("PodChaos", "podChaos", &["action", "gracePeriod"]),
    ("NetworkChaos", "networkChaos", &["action", "direction", "delay", "loss", "bandwidth"]),
    ("HTTPChaos", "httpChaos", &["target", "port", "path", "abort", "delay", "replace"]),
    ("StressChaos", "stressChaos", &["stressors"]),
];

#[test]
fn manifests_have_the_documented_fields() {
    let text = "name = \"drawn\"\nduration = \"60s\"\nload.rate = 5\nnemesis = { variants = true, faults_max = 8 }\n";
    let base = Scenario::parse("drawn.toml", text, &[]).unwrap();
    for seed in 0..100 {
        let scenario = base.explicit(seed);
        let (document, _) = document_of(&scenario, Tool::ChaosMesh);
        let workflow = &super::node::read(&document).unwrap()[0];
        assert_eq!(
            (workflow.str("apiVersion"), workflow.str("kind")),
            (Some("chaos-mesh.org/v1alpha1"), Some("Workflow"))
        );
        let templates = workflow.get("spec.templates").unwrap().items();
        assert!(templates.iter().any(|template| template.str("name") == workflow.str("spec.entry")), "{document}");
        for template in templates {
            let children = template.get("children").map_or(&[][..], |children| children.items());
            let is_there = |name: &str| templates.iter().any(|template| template.str("name") == Some(name));
            assert!(children.iter().all(|child| child.as_str().is_some_and(is_there)), "{document}");
            let kind = template.str("templateType").unwrap();
            let Some((_, key, fields)) = MESH_FIELDS.iter().find(|(own, ..)| *own == kind) else {
                assert!(["Serial", "Parallel", "Suspend"].contains(&kind), "{document}");
                continue;
            };
            for (field, _) in template.get(key).unwrap().entries() {
                assert!(
                    ["mode", "selector"].contains(&field.as_str()) || fields.contains(&field.as_str()),
                    "{field}: {document}"
                );
            }
        }
        let (document, _) = document_of(&scenario, Tool::Litmus);
        for engine in super::node::read(&document).unwrap() {
            assert_eq!(
                (engine.str("apiVersion"), engine.str("kind")),
                (Some("litmuschaos.io/v1alpha1"), Some("ChaosEngine"))
            );
            let experiment = &engine.get("spec.experiments").unwrap().items()[0];
            for variable in experiment.get("spec.components.env").unwrap().items() {
                let value = variable.get("value").unwrap();
                let is_text = matches!(&value.data, super::node::Data::Scalar { quoted, text } if *quoted || text.parse::<f64>().is_err());
                assert!(variable.str("name").is_some() && is_text, "{document}");
            }
        }
    }
}

#[test]
fn a_fault_without_a_counterpart_is_noted_with_the_nearest() {
    let text = "name = \"one\"\nduration = \"30s\"\nload.rate = 5\nfault = [{ at = \"1s\", kind = \"freeze\", target = \"server-0\" }]\n";
    let scenario = Scenario::parse("one.toml", text, &[]).unwrap();
    for tool in Tool::value_variants() {
        let (_, notes) = document_of(&scenario, *tool);
        let noted = notes.iter().find(|note| note.field == "fault.0").map(|note| note.why.clone());
        assert_eq!(noted.is_none(), *tool == Tool::ChaosToolkit, "{noted:?}");
        assert!(noted.is_none_or(|why| why.contains("the nearest is a `partition`")));
    }
}

#[test]
fn a_fault_of_certificates_brings_tls_with_it() {
    let experiment = "{\"title\": \"t\", \"method\": [{\"type\": \"action\", \"name\": \"a\", \"provider\": {\"type\": \"python\", \
                      \"module\": \"chaosrehearsal.actions\", \"func\": \"inject\", \"arguments\": {\"fault\": \"certificate_expired\", \
                      \"target\": \"server-1\", \"options\": {\"duration\": \"5s\"}}}}]}";
    let (text, notes) = scenario_of(experiment, AT, None, &[]).unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    let scenario = Scenario::parse("t.toml", &text, &[]).unwrap();
    assert!(scenario.tls.is_some(), "{text}");
    assert_eq!(
        scenario.faults[0].to_string(),
        "{ at = \"0s\", kind = \"certificate_expired\", target = \"server-1\", duration = \"5s\" }"
    );
    let (_, notes) = document_of(&scenario, Tool::ChaosToolkit);
    let fields: Vec<_> = notes.iter().map(|note| &*note.field).collect();
    assert_eq!(fields, ["tls"], "the files of certificates are the user's");
}
