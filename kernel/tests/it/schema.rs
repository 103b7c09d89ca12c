//! The JSON Schema of scenario files: every scenario of this repository is valid by it, and mistakes are not.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kernel::scenario::{Scenario, schema};
use serde_json::{Map, Value};

/// Returns every TOML file in `folder` and the folders in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false if path.extension().is_some_and(|extension| extension == "toml") => files.push(path),
            false => {}
        }
    }
    files
}

fn toml(text: &str) -> Option<Value> {
    toml::from_str(text).ok()
}

/// Returns what is wrong with `value` by `schema`, `None` if nothing is. It knows the keywords that the schema uses, and
/// panics at others, so that none of them is without effect here.
fn mistake(schema: &Value, value: &Value, path: &str) -> Option<String> {
    let keywords = schema.as_object().unwrap();
    keywords.iter().find_map(|(keyword, argument)| {
        let is_wrong = match keyword.as_str() {
            "$schema" | "title" | "description" | "default" => false,
            "type" => match argument {
                Value::Array(names) => !names.iter().any(|name| has_type(name.as_str().unwrap(), value)),
                name => !has_type(name.as_str().unwrap(), value),
            },
            "const" => value != argument,
            "enum" => !argument.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_some_and(|number| number < argument.as_f64().unwrap()),
            "maximum" => value.as_f64().is_some_and(|number| number > argument.as_f64().unwrap()),
            "minLength" => value.as_str().is_some_and(|text| text.chars().count() < length(argument)),
            "maxLength" => value.as_str().is_some_and(|text| text.chars().count() > length(argument)),
            "pattern" => value
                .as_str()
                .is_some_and(|text| !regex::Regex::new(argument.as_str().unwrap()).unwrap().is_match(text)),
            "maxItems" => value.as_array().is_some_and(|items| items.len() > length(argument)),
            "minItems" => value.as_array().is_some_and(|items| items.len() < length(argument)),
            "uniqueItems" => value.as_array().is_some_and(|items| has_repeats(items)),
            "anyOf" => !argument.as_array().unwrap().iter().any(|schema| mistake(schema, value, path).is_none()),
            "oneOf" => {
                let schemas = argument.as_array().unwrap();
                schemas.iter().filter(|schema| mistake(schema, value, path).is_none()).count() != 1
            }
            "items" => return value.as_array()?.iter().find_map(|item| mistake(argument, item, &format!("{path}[]"))),
            "properties" => {
                return value.as_object()?.iter().find_map(|(key, value)| {
                    argument.get(key).and_then(|schema| mistake(schema, value, &format!("{path}.{key}")))
                });
            }
            "required" => {
                let required = argument.as_array().unwrap().iter().map(|key| key.as_str().unwrap());
                value.as_object().is_some_and(|table| required.into_iter().any(|key| !table.contains_key(key)))
            }
            "additionalProperties" => {
                value.as_object().is_some_and(|table| has_unknown_key(table, &schema["properties"]))
            }
            _ => panic!("the keyword {keyword} at {path}"),
        };
        is_wrong.then(|| format!("{path}: {value} does not satisfy {keyword} {argument}"))
    })
}

fn length(argument: &Value) -> usize {
    usize::try_from(argument.as_u64().unwrap()).unwrap()
}

fn has_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => panic!("the type {name}"),
    }
}

fn has_repeats(items: &[Value]) -> bool {
    items.iter().enumerate().any(|(index, item)| items[..index].contains(item))
}

fn has_unknown_key(table: &Map<String, Value>, properties: &Value) -> bool {
    table.keys().any(|key| properties.get(key).is_none())
}

#[test]
fn every_scenario_is_valid_by_the_schema() {
    let schema = schema();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = files(&folder.join("../scenarios"));
    assert!(files.len() > 50, "{}", files.len());
    files.push(folder.join("tests/example.toml"));
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(mistake(&schema, &toml(&text).unwrap(), ""), None, "{}", file.display());
        // As it is written back, too, with every key in it.
        let resolved = Scenario::load(&file, &[]).unwrap().to_toml();
        assert_eq!(mistake(&schema, &toml(&resolved).unwrap(), ""), None, "{}", file.display());
    }
}

#[test]
fn mistakes_in_one_key_are_mistakes_by_the_schema() {
    let schema = schema();
    // Rules between keys, order of units, and bounds of durations and bandwidths are beyond a schema.
    let mut missed = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/invalid");
    for file in files(&folder) {
        let Some(value) = toml(&fs::read_to_string(&file).unwrap()) else { continue };
        if mistake(&schema, &value, "").is_none() {
            missed.push(file.file_stem().unwrap().to_string_lossy().into_owned());
        }
    }
    missed.sort();
    insta::assert_snapshot!("mistakes_beyond_the_schema", missed.join("\n"));
    assert!(missed.iter().all(|name| !name.starts_with("unknown")), "{missed:?}");
}

#[test]
fn short_forms_of_optional_tables_are_valid() {
    let schema = schema();
    let scenario = "name = \"x\"\nduration = \"5s\"\n[load]\nrate = 5\n[client]\n";
    for (line, is_valid) in [
        ("hedging = \"50ms\"", true),
        ("hedging = \"off\"", true),
        ("circuit_breaker = \"on\"", true),
        ("circuit_breaker = \"50ms\"", false),
        ("retry = \"off\"", false),
        ("deadline = 5", false),
        ("dedline = \"5s\"", false),
    ] {
        let found = mistake(&schema, &toml(&format!("{scenario}{line}\n")).unwrap(), "");
        assert_eq!(found.is_none(), is_valid, "{line}: {found:?}");
    }
}
