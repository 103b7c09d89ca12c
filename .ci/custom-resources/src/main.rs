//! Checks manifests of Chaos Mesh and Litmus against the types of their custom resource definitions: that every field is one of the
//! definition, that required fields are there, and that values have the type, or are one of the values, that it allows.
//!
//! `custom-resources FILE…` reads files of YAML with one or several documents, prints what is wrong with its file, the number of the
//! document and the path of the field, and exits with 1 then. Bounds and patterns of values are not part of the types, and not checked.

use std::{env, fs, process::ExitCode};

use kube::Resource;
use kube_custom_resources_rs::{
    chaos_mesh_org::v1alpha1::{
        httpchaos::HTTPChaos, networkchaos::NetworkChaos, podchaos::PodChaos, schedules::Schedule,
        stresschaos::StressChaos, timechaos::TimeChaos, workflows::Workflow,
    },
    litmuschaos_io::v1alpha1::{chaosengines::ChaosEngine, chaosexperiments::ChaosExperiment},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// Returns what is wrong with a document of the type `T`.
fn wrong<T: DeserializeOwned + Resource<DynamicType = ()>>(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let version = T::api_version(&());
    if document["apiVersion"] != *version {
        found.push(format!("apiVersion: it is not {version}"));
    }
    let read: Result<T, _> = {
        let mut unknown = |path: serde_ignored::Path<'_>| {
            let path = path.to_string();
            // The types have neither: they are constants of the type.
            if !["apiVersion", "kind"].contains(&path.as_str()) {
                found.push(format!("{path}: there is no such field"));
            }
        };
        let reader = serde_ignored::Deserializer::new(document, &mut unknown);
        serde_path_to_error::deserialize(reader)
    };
    if let Err(error) = read {
        found.push(error.to_string());
    }
    found
}

/// Replaces the lists of names in the `pods` of selectors by texts. The definition has lists there, as its description says, and the
/// generated types texts: kopium does not know lists in a mapping. What is no list of texts becomes something that is no text either.
fn with_pods_as_texts(node: &mut Value) {
    if let Some(Value::Object(namespaces)) = node.get_mut("selector").and_then(|selector| selector.get_mut("pods")) {
        for pods in namespaces.values_mut() {
            let is_list = pods.as_array().is_some_and(|pods| pods.iter().all(Value::is_string));
            *pods = if is_list { Value::from("pods") } else { Value::Bool(false) };
        }
    }
    match node {
        Value::Object(fields) => fields.values_mut().for_each(with_pods_as_texts),
        Value::Array(items) => items.iter_mut().for_each(with_pods_as_texts),
        _ => {}
    }
}

/// Returns what is wrong with a document of any of the known kinds.
fn wrong_of_any(document: &Value) -> Vec<String> {
    match document["kind"].as_str().unwrap_or_default() {
        "Workflow" => wrong::<Workflow>(document),
        "Schedule" => wrong::<Schedule>(document),
        "PodChaos" => wrong::<PodChaos>(document),
        "NetworkChaos" => wrong::<NetworkChaos>(document),
        "HTTPChaos" => wrong::<HTTPChaos>(document),
        "StressChaos" => wrong::<StressChaos>(document),
        "TimeChaos" => wrong::<TimeChaos>(document),
        "ChaosEngine" => wrong::<ChaosEngine>(document),
        "ChaosExperiment" => wrong::<ChaosExperiment>(document),
        other => vec![format!("kind: `{other}` is none of the known kinds")],
    }
}

/// Returns the documents of a file, or why it cannot be read.
fn documents(file: &str) -> Result<Vec<Value>, String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let all = serde_yaml_ng::Deserializer::from_str(&text).map(Value::deserialize);
    let all: Result<Vec<_>, _> = all.collect();
    let mut all = all.map_err(|error| error.to_string())?;
    all.retain(|document| !document.is_null());
    all.iter_mut().for_each(with_pods_as_texts);
    Ok(all)
}

fn main() -> ExitCode {
    let (mut count, mut mistakes) = (0, Vec::new());
    for file in env::args().skip(1) {
        match documents(&file) {
            Err(error) => mistakes.push(format!("{file}: {error}")),
            Ok(documents) => {
                for (number, document) in documents.iter().enumerate() {
                    let name = format!("{file}, document {}", number + 1);
                    mistakes.extend(wrong_of_any(document).into_iter().map(|wrong| format!("{name}: {wrong}")));
                    count += 1;
                }
            }
        }
    }
    mistakes.iter().for_each(|mistake| println!("{mistake}"));
    println!("{count} documents, {} mistakes", mistakes.len());
    if mistakes.is_empty() && count > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
