//! The JSON Schema of scenario files, from the declarations, so that editors complete and check them.

use serde_json::{Map, Value, json};

use super::{TABLE, reference::one_line, shorthand};
use crate::settings::{KeyInfo, Kinds, Presence, TableInfo, nearest::backticked, source::join};

/// The dialect of the schema. Nothing in it is newer than draft 7, which some editors are limited to.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Returns the schema of a scenario file (JSON Schema, draft 2020-12), with the description, the default and the bounds of
/// every key.
///
/// It allows every valid scenario, and rejects unknown keys and wrong types, names and numbers. Rules between keys, such as
/// that a fault starts before the scenario ends, are left to [`Scenario::check`](super::Scenario::check).
pub fn schema() -> Value {
    let mut schema = Map::new();
    schema.insert("$schema".into(), DIALECT.into());
    schema.insert("title".into(), "Scenario".into());
    let Value::Object(table) = table(TABLE, "") else { unreachable!("a table without kinds is one object") };
    schema.extend(table);
    schema.into()
}

/// The schema of the table at `path`: an object, or one object for each kind.
fn table(info: &TableInfo, path: &str) -> Value {
    let mut common = Object::default();
    info.keys.iter().for_each(|key| common.key(*key));
    for (name, presence, inner) in info.tables {
        common.table(name, *presence, inner, &join(path, name));
    }
    if path == "load" {
        common.required.retain(|key| !shorthand::LOADS.contains(&key.as_str()));
        let mut schema = common.schema(info.doc);
        schema["anyOf"] = shorthand::LOADS.map(|key| json!({ "required": [key] })).to_vec().into();
        return schema;
    }
    let Some(kinds) = info.kinds else { return common.schema(info.doc) };
    let variants = kinds.variants.iter().map(|(name, variant)| {
        let mut object = common.clone();
        object.kind(kinds, name);
        variant.keys.iter().for_each(|key| object.key(*key));
        object.schema(variant.doc)
    });
    json!({ "type": "object", "description": one_line(info.doc), "oneOf": variants.collect::<Vec<_>>() })
}

/// The keys of a table.
#[derive(Clone, Default)]
struct Object {
    properties: Map<String, Value>,
    required: Vec<String>,
}

impl Object {
    fn key(&mut self, key: &dyn KeyInfo) {
        let mut schema = key.schema();
        schema["description"] = description(key).into();
        if let Some(default) = key.default_text() {
            schema["default"] = json_of(&default);
        }
        if key.is_required() {
            self.required.push(key.name().into());
        }
        self.properties.insert(key.name().into(), schema);
    }

    /// Adds the key that chooses the kind `name`.
    fn kind(&mut self, kinds: &Kinds, name: &str) {
        let others: Vec<_> = kinds.variants.iter().map(|(name, _)| *name).collect();
        let description = format!("The kind, which decides on the further keys: {}.", backticked(&others));
        let mut schema = json!({ "const": name, "description": description });
        let default = kinds.default.map(|default| default());
        if let Some(default) = default {
            schema["default"] = default.into();
        }
        // A table that does not say is of the default kind, and so of that one alone.
        if default != Some(name) {
            self.required.push(kinds.key.into());
        }
        self.properties.insert(kinds.key.into(), schema);
    }

    fn table(&mut self, name: &str, presence: Presence, info: &TableInfo, path: &str) {
        let inner = table(info, path);
        let schema = match presence {
            Presence::Always => {
                // Without the table, a key in it that has no default is missing.
                if info.keys.iter().any(|key| key.is_required()) {
                    self.required.push(name.into());
                }
                inner
            }
            Presence::Optional | Presence::ByProfile => {
                let mut forms = vec![inner, json!({ "enum": ["on", "off"] })];
                forms.extend(shorthand::value_schema(path));
                json!({ "description": one_line(info.doc), "anyOf": forms })
            }
            Presence::List => json!({ "type": "array", "description": one_line(info.doc), "items": inner }),
        };
        self.properties.insert(name.into(), schema);
    }

    fn schema(self, doc: &str) -> Value {
        json!({
            "type": "object",
            "description": one_line(doc),
            "properties": self.properties,
            "required": self.required,
            "additionalProperties": false,
        })
    }
}

/// The documentation of a key, with its bounds, on one line.
fn description(key: &dyn KeyInfo) -> String {
    match key.limits_text() {
        Some(limits) => format!("{} Allowed: {limits}.", one_line(key.doc())),
        None => one_line(key.doc()),
    }
}

/// The TOML value `text` as JSON.
fn json_of(text: &str) -> Value {
    let table: Map<String, Value> = toml::from_str(&format!("value = {text}")).expect("defaults are valid TOML");
    table["value"].clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_description_default_and_bounds() {
        let schema = schema();
        let attempts = &schema["properties"]["client"]["properties"]["retry"]["properties"]["max_attempts"];
        assert_eq!(
            attempts,
            &json!({
                "type": "integer",
                "minimum": 1,
                "maximum": 100,
                "default": 3,
                "description": "Attempts of a call, the first one included; 1 means no retry. gRPC A6 caps it at 5. \
                                Allowed: 1 to 100.",
            })
        );
        assert_eq!(schema["required"], json!(["name", "duration", "load"]));
    }

    #[test]
    fn a_table_of_kinds_has_an_object_for_each() {
        let schema = schema();
        let kinds = schema["properties"]["fault"]["items"]["oneOf"].as_array().unwrap();
        let slow = kinds.iter().find(|kind| kind["properties"]["kind"]["const"] == "slow").unwrap();
        assert_eq!(slow["required"], json!(["at", "target", "kind", "factor"]));
        let workloads = schema["properties"]["workload"]["oneOf"].as_array().unwrap();
        assert_eq!(workloads[0]["required"], json!([]), "sobel is the default");
        assert_eq!(workloads[1]["required"], json!(["kind"]));
    }
}
