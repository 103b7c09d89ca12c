//! `sim from-chaos` and `sim to-chaos`: documents of other tools become scenarios that play, and scenarios become documents.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::command::{Ended, sim};

/// The documents in `scenarios/chaos`.
const SAMPLES: [&str; 6] = [
    "network-delay.yaml",
    "mesh-workflow.yaml",
    "other-labels.yaml",
    "litmus-engines.yaml",
    "toxiproxy.json",
    "toolkit.yaml",
];

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/chaos");
    for sample in SAMPLES {
        fs::copy(from.join(sample), folder.path().join(sample)).unwrap();
    }
    folder
}

fn from_chaos(folder: &TempDir, arguments: &[&str]) -> Ended {
    Ended::after(sim(folder.path()).arg("from-chaos").args(arguments))
}

#[test]
fn every_sample_becomes_a_scenario_that_is_valid_and_says_what_it_leaves_out() {
    let folder = folder();
    for sample in SAMPLES {
        let ended = from_chaos(&folder, &[sample, "--output", "made.toml"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{ended:?}");
        let made = fs::read_to_string(folder.path().join("made.toml")).unwrap();
        insta::assert_snapshot!(
            format!("from_{}", sample.replace(['-', '.'], "_")),
            format!("{made}\n{}", ended.stderr)
        );
        let checked = Ended::after(sim(folder.path()).args(["check", "made.toml"]));
        assert_eq!((checked.code, checked.stdout.as_str()), (Some(0), "valid    made.toml\n"), "{checked:?}");
    }
}

#[test]
fn what_was_made_of_an_experiment_plays() {
    let folder = folder();
    from_chaos(&folder, &["toolkit.yaml", "--output", "made.toml"]);
    let ended = Ended::after(sim(folder.path()).args(["run", "made.toml", "--set", "workload.sizes=[\"8x8\"]"]));
    assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}");
}

#[test]
fn faults_are_added_to_those_of_a_base_and_strict_fails_if_something_is_left_out() {
    let folder = folder();
    let base = "name = \"base\"\nduration = \"15s\"\nservers.replicas = 2\nload.rate = 3\n\
                fault = [{ at = \"1s\", kind = \"reset\", target = \"*\" }]\n";
    fs::write(folder.path().join("base.toml"), base).unwrap();
    let ended = from_chaos(&folder, &["network-delay.yaml", "--base", "base.toml", "--at", "4s", "--strict"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    let faults: Vec<_> =
        ended.stdout.lines().filter(|line| line.starts_with("at =") || line.starts_with("kind = \"de")).collect();
    assert_eq!(faults, ["at = \"1s\"", "at = \"4s\"", "kind = \"delay\""]);
    assert!(ended.stdout.contains("name = \"base\"") && ended.stdout.contains("replicas = 2"));
    let ended = from_chaos(&folder, &["litmus-engines.yaml", "--strict"]);
    assert!(ended.code == Some(1) && ended.stderr.contains("note: litmus-engines.yaml:"), "{ended:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_one_error_with_its_line_and_the_remedy() {
    let folder = folder();
    let experiment = "title: x\nmethod:\n  - name: a\n    type: action\n    provider: { type: python, module: chaosaws.ec2.actions, func: stop_instance }\n";
    for (text, message) in [
        ("a: [1, 2\nb", "wrong.yaml:3: this is neither YAML nor JSON"),
        (
            "name: x\nsize: 2\n",
            "wrong.yaml:1: this kind of document is not known\nhelp: it has to be an experiment of Chaos Toolkit",
        ),
        ("apiVersion: v1\nkind: Pod\n", "wrong.yaml:1: a Pod of `v1` injects no fault\nhelp: leave it out"),
        (
            "apiVersion: chaos-mesh.org/v1alpha1\nkind: NetworkChaos\nspec:\n  action: dely\n",
            "wrong.yaml:4: there is no fault for `NetworkChaos dely` of Chaos Mesh\nhelp: did you mean `NetworkChaos delay`?",
        ),
        (
            experiment,
            "wrong.yaml:5: there is no fault for `chaosaws.ec2.actions.stop_instance` of Chaos Toolkit\nhelp: ",
        ),
        (
            "apiVersion: chaos-mesh.org/v1alpha1\nkind: TimeChaos\nspec:\n  mode: one\n",
            "wrong.yaml: there is no fault in it that can be played\n  line:2: TimeChaos: it cannot be said: every process has the same clock",
        ),
        ("", "wrong.yaml: the file is empty\nhelp: "),
        (
            "method:\n  - type: action\n    pauses: { before: soon }\n    provider: { type: process, path: pkill }\n",
            "wrong.yaml:3: `soon` is not a number of seconds",
        ),
    ] {
        fs::write(folder.path().join("wrong.yaml"), text).unwrap();
        let ended = from_chaos(&folder, &["wrong.yaml"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{text}: {ended:?}");
        assert!(ended.stderr.starts_with(&format!("error: {message}")), "{text}: {ended:?}");
    }
    assert!(from_chaos(&folder, &["missing.yaml"]).stderr.contains("cannot read missing.yaml"));
}

#[test]
fn each_tool_has_its_document_which_is_read_back() {
    let folder = folder();
    let scenario = "name = \"two_faults\"\nquestion = \"Does it recover?\"\nduration = \"40s\"\nservers.replicas = 2\nload.rate = 5\n\
        [[fault]]\nat = \"5s\"\nkind = \"delay\"\ntarget = \"server-1\"\nlatency = \"200ms\"\nduration = \"4s\"\ndirection = \"from\"\n\
        [[fault]]\nat = \"12s\"\nkind = \"crash\"\ntarget = \"server-0\"\nrestart_after = \"2s\"\n\
        [[fault]]\nat = \"20s\"\nkind = \"freeze\"\ntarget = \"server-0\"\nduration = \"2s\"\n\
        [[expect]]\nmetric = \"success_rate\"\nduring = \"after\"\nmin = 0.9\n";
    fs::write(folder.path().join("two.toml"), scenario).unwrap();
    for tool in ["chaostoolkit", "chaos-mesh", "litmus", "toxiproxy"] {
        let ended = Ended::after(sim(folder.path()).args(["to-chaos", "two.toml", "--for", tool]));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        insta::assert_snapshot!(
            format!("to_{}", tool.replace('-', "_")),
            format!("{}\n{}", ended.stdout, ended.stderr)
        );
        fs::write(folder.path().join("back.yaml"), &ended.stdout).unwrap();
        let back = from_chaos(&folder, &["back.yaml"]);
        assert!(back.code == Some(0) && back.stdout.contains("latency = \"200ms\""), "{back:?}");
        let strict = Ended::after(sim(folder.path()).args(["to-chaos", "two.toml", "--for", tool, "--strict"]));
        assert_eq!(strict.code, Some(if tool == "chaostoolkit" { 0 } else { 1 }), "{strict:?}");
    }
}

/// A manifest of Chaos Mesh that selects by a label of somebody else, and an engine of Litmus that does.
const LABELLED: &str = "apiVersion: chaos-mesh.org/v1alpha1\nkind: NetworkChaos\nmetadata: { name: labelled }\nspec:\n  action: loss\n  \
    mode: fixed-percent\n  value: '50'\n  selector: { namespaces: [shop], labelSelectors: { app: web, tier: front } }\n  loss: { loss: '20' }\n  \
    duration: 5s\n---\napiVersion: litmuschaos.io/v1alpha1\nkind: ChaosEngine\nspec:\n  appinfo: { applabel: 'app=web' }\n  experiments:\n    \
    - { name: pod-network-latency, spec: { components: { env: [{ name: PODS_AFFECTED_PERC, value: '100' }] } } }\n";

#[test]
fn a_selector_of_labels_is_resolved_by_what_the_command_line_says_of_them() {
    let folder = folder();
    fs::write(folder.path().join("labelled.yaml"), LABELLED).unwrap();
    let targets = |ended: &Ended| -> Vec<String> {
        ended.stdout.lines().filter_map(|line| line.strip_prefix("target = ")).map(str::to_owned).collect()
    };
    let selections = ["--select", "app=web,tier=front:server-3,server-1", "--select", "app=web:server-4"];
    let ended = from_chaos(&folder, &[&["labelled.yaml", "--strict"], &selections[..]].concat());
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.stdout.contains("servers.replicas = 5\n"), "{ended:?}");
    // Half of the two at the front, and all three of the others.
    assert_eq!(targets(&ended), ["\"server-1\"", "[\"server-1\", \"server-3\", \"server-4\"]"]);

    let ended = from_chaos(&folder, &["labelled.yaml", "--strict"]);
    assert_eq!((ended.code, targets(&ended).len()), (Some(1), 2), "{ended:?}");
    let remedy = "it is not known which servers have `app=web`; say it by --select 'app=web:server-0,server-1'; here it selects all servers";
    for place in ["labelled.yaml:8: selector", "labelled.yaml:15: applabel"] {
        assert!(ended.stderr.contains(&format!("note: {place}: {remedy}\n")), "{ended:?}");
    }

    let ended = from_chaos(&folder, &["labelled.yaml", "--select", "app=web"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("write LABEL=VALUE:SERVERS, such as app=web:server-1,server-2"), "{ended:?}");
}
