//! Toxics, as faults of a link.

use std::time::Duration;

use kernel::{
    link::{LinkEffect, Selection, Shape, Way},
    scenario::limits,
    settings::nearest::nearest,
};
use serde_json::{Map, Value, json};

use super::{Refused, flow::Treatment};

/// The types of toxics that the proxy has, with their attributes and the values of these by default.
const TYPES: [(&str, &[(&str, u64)]); 7] = [
    ("latency", &[("latency", 0), ("jitter", 0)]),
    ("bandwidth", &[("rate", 0)]),
    ("timeout", &[("timeout", 0)]),
    ("reset_peer", &[("timeout", 0)]),
    ("slow_close", &[("delay", 0)]),
    ("slicer", &[("average_size", 0), ("size_variation", 0), ("delay", 0)]),
    ("limit_data", &[("bytes", 0)]),
];

/// A toxic.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Toxic {
    pub(super) name: String,
    kind: &'static str,
    /// The direction that it applies to.
    way: Way,
    /// Share of the connections that it applies to.
    toxicity: f64,
    /// Its attributes, in the order of its type.
    attributes: Vec<(&'static str, u64)>,
}

impl Toxic {
    /// Reads a new toxic.
    pub(super) fn read(body: &Value) -> Result<Self, Refused> {
        let kind = body["type"].as_str().unwrap_or_default();
        let Some((kind, attributes)) = TYPES.iter().find(|(name, _)| *name == kind) else {
            return Err(unknown(kind));
        };
        let stream =
            body["stream"].as_str().filter(|stream| !stream.is_empty()).unwrap_or("downstream").to_ascii_lowercase();
        let way = match &*stream {
            "upstream" => Way::To,
            "downstream" => Way::From,
            _ => return Err(Refused::new(400, "stream was invalid, can be either upstream or downstream")),
        };
        let name = match body["name"].as_str() {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => format!("{kind}_{stream}"),
        };
        if name.len() > 64 || name.chars().any(char::is_control) {
            return Err(Refused::new(400, "the name of a toxic has up to 64 bytes and no control characters"));
        }
        let toxic = Self { name, kind, way, toxicity: 1.0, attributes: attributes.to_vec() };
        toxic.with(body)
    }

    /// Returns the toxic with the toxicity and the attributes of `body`; what it does not have stays.
    pub(super) fn with(&self, body: &Value) -> Result<Self, Refused> {
        let mut toxic = self.clone();
        if let Some(toxicity) = body.get("toxicity").filter(|toxicity| !toxicity.is_null()) {
            let toxicity = toxicity.as_f64().filter(|toxicity| (0.0..=1.0).contains(toxicity));
            toxic.toxicity =
                toxicity.ok_or_else(|| Refused::new(400, "bad request body: toxicity is a number from 0 to 1"))?;
        }
        let given = body.get("attributes").and_then(Value::as_object).cloned().unwrap_or_default();
        for (name, value) in given {
            let Some((_, own)) = toxic.attributes.iter_mut().find(|(own, _)| *own == name) else {
                let kind = self.kind;
                return Err(Refused::new(400, format!("bad request body: {kind} has no attribute {name}")));
            };
            // A day in milliseconds, and bytes that no connection sends in one.
            let longest = if name == "bytes" { 1 << 50 } else { limits::WAIT.end().as_millis() as u64 };
            let number = value.as_f64().filter(|number| *number >= 0.0 && *number <= longest as f64);
            *own = number.map(|number| number as u64).ok_or_else(|| {
                Refused::new(400, format!("bad request body: {name} is a number from 0 to {longest}"))
            })?;
        }
        if toxic.kind == "bandwidth" && toxic.attribute("rate") == 0 {
            return Err(Refused::new(
                400,
                "bad request body: the rate of a bandwidth is at least 1 KB/s; to stop all data use timeout",
            ));
        }
        if toxic.kind == "slicer" && toxic.attribute("average_size") <= toxic.attribute("size_variation") {
            return Err(Refused::new(
                400,
                "bad request body: the average_size of a slicer is more than its size_variation",
            ));
        }
        Ok(toxic)
    }

    fn attribute(&self, name: &str) -> u64 {
        self.attributes.iter().find(|(own, _)| *own == name).map_or(0, |(_, value)| *value)
    }

    /// Returns what it does to the link; none if it applies to no connection.
    pub(super) fn effect(&self) -> Option<LinkEffect> {
        let millis = |name: &str| Duration::from_millis(self.attribute(name));
        let none = Shape::default();
        let shape = match self.kind {
            "latency" => Shape { latency: millis("latency"), jitter: millis("jitter"), ..none },
            "bandwidth" => Shape { bandwidth: Some(self.attribute("rate") * 8_000), ..none },
            // A link holds back the end of a connection, too, which must come after the time.
            "timeout" if self.attribute("timeout") > 0 => none,
            "timeout" => Shape { cut_to: self.way == Way::To, cut_from: self.way == Way::From, ..none },
            "slow_close" | "slicer" | "limit_data" => none,
            _ => Shape { resets: self.attribute("timeout") == 0, ..none },
        };
        // A reset has no direction.
        let way = (self.kind != "reset_peer").then_some(self.way);
        let connections = Selection { share: self.toxicity, ..Selection::default() };
        (self.toxicity > 0.0).then(|| LinkEffect { shape, connections, way, ..LinkEffect::default() })
    }

    /// Returns after which time it resets connections, and which share of them, if it does.
    pub(super) fn closing(&self) -> Option<(Duration, f64)> {
        let after = Duration::from_millis(self.attribute("timeout"));
        (!after.is_zero() && self.toxicity > 0.0).then_some((after, self.toxicity))
    }

    /// Returns what it does to the bytes that are passed on, in which direction and on which share of the connections, if anything.
    pub(super) fn treatment(&self) -> Option<(Way, f64, Treatment)> {
        let treatment = match self.kind {
            "timeout" if self.attribute("timeout") > 0 => Treatment::Discard,
            "limit_data" => Treatment::LimitData(self.attribute("bytes")),
            "slow_close" => Treatment::SlowClose(Duration::from_millis(self.attribute("delay"))),
            "slicer" => Treatment::Slicer {
                average: self.attribute("average_size"),
                variation: self.attribute("size_variation"),
                // Microseconds, unlike the others.
                delay: Duration::from_micros(self.attribute("delay")),
            },
            _ => return None,
        };
        (self.toxicity > 0.0).then_some((self.way, self.toxicity, treatment))
    }

    /// Returns the kind of fault that it is, for logs and metrics.
    pub(super) fn fault(&self) -> &'static str {
        match self.kind {
            "latency" => "delay",
            "timeout" => "partition",
            "reset_peer" => "reset",
            other => other,
        }
    }

    /// Returns what it is, for logs.
    pub(super) fn text(&self) -> String {
        let attributes: Vec<_> = self.attributes.iter().map(|(name, value)| format!("{name} {value}")).collect();
        format!("toxic {} ({}, {})", self.name, self.kind, attributes.join(", "))
    }

    /// Returns it as toxiproxy does.
    pub(super) fn json(&self) -> Value {
        let attributes: Map<_, _> =
            self.attributes.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let stream = if self.way == Way::To { "upstream" } else { "downstream" };
        json!({ "name": self.name, "type": self.kind, "stream": stream, "toxicity": self.toxicity, "attributes": attributes })
    }
}

fn unknown(kind: &str) -> Refused {
    let guess = nearest(kind, TYPES.iter().map(|(name, _)| *name));
    let guess = guess.map_or_else(String::new, |guess| format!("; did you mean `{guess}`?"));
    Refused::new(400, format!("invalid toxic type{guess}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toxics_are_read_with_their_defaults_and_changed_in_parts() {
        let toxic = Toxic::read(&json!({ "type": "latency", "attributes": { "latency": 100 } })).unwrap();
        assert_eq!(
            toxic.json(),
            json!({
                "name": "latency_downstream", "type": "latency", "stream": "downstream", "toxicity": 1.0,
                "attributes": { "latency": 100, "jitter": 0 },
            })
        );
        let effect = toxic.effect().unwrap();
        assert_eq!((effect.shape.latency, effect.way), (Duration::from_millis(100), Some(Way::From)));
        let changed = toxic.with(&json!({ "toxicity": 0.0, "attributes": { "jitter": 5 } })).unwrap();
        assert_eq!((changed.attribute("latency"), changed.attribute("jitter"), changed.effect()), (100, 5, None));
        let reset = Toxic::read(&json!({ "type": "reset_peer", "attributes": { "timeout": 20 } })).unwrap();
        assert_eq!(reset.closing(), Some((Duration::from_millis(20), 1.0)));
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_the_reason() {
        for (body, reason) in [
            (json!({ "type": "slicer" }), "bad request body: the average_size of a slicer"),
            (json!({ "type": "latencyy" }), "invalid toxic type; did you mean `latency`?"),
            (json!([]), "invalid toxic type"),
            (json!({ "type": "latency", "stream": "both" }), "stream was invalid"),
            (json!({ "type": "latency", "toxicity": 2 }), "bad request body: toxicity"),
            (json!({ "type": "latency", "attributes": { "latency": -1 } }), "bad request body: latency"),
            (
                json!({ "type": "latency", "attributes": { "delay": 1 } }),
                "bad request body: latency has no attribute delay",
            ),
            (json!({ "type": "bandwidth", "attributes": { "rate": 0 } }), "bad request body: the rate"),
            (json!({ "type": "latency", "name": "a\nb" }), "the name of a toxic"),
        ] {
            let refused = Toxic::read(&body).unwrap_err();
            assert!(refused.status == 400 && refused.reason.starts_with(reason), "{body}: {refused:?}");
        }
    }
}
