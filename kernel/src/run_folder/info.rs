//! `run.json`: how a run came about.

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use crate::entropy::branch::Branch;

/// The version of the format of `run.json`, raised when a field changes its meaning or is removed.
pub const SCHEMA: u32 = 1;

/// The content of `run.json`: how the run came about.
///
/// Reading one of a newer [`SCHEMA`] is an error; one without a schema is from before there were numbers, and is read as
/// the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The version of the format. It is the first key, so that a newer file is refused before anything in it is read.
    #[serde(default = "first_schema", deserialize_with = "supported_schema")]
    pub schema: u32,
    /// The world that the run took place in: `sim` or `real`.
    pub world: String,
    /// The root seed.
    pub seed: u64,
    /// The times from which everything random was drawn again, each with its salt; left out if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<Branch>,
    /// The version of the program that wrote the folder.
    pub version: String,
    /// The calibration that a simulated run used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationInfo>,
    /// The machine of a real run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostInfo>,
    /// The time at which a real run began: RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// Why the run was stopped before its end, in a sentence; left out if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The topic that the rows of a real run were sent to; left out if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<EventsInfo>,
}

/// The delivery of the rows that a run sent to a topic of a broker as they happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsInfo {
    /// The URL of the topic.
    pub to: String,
    /// The identifier of the run in its messages.
    pub run: String,
    /// Number of rows that the broker has acknowledged.
    pub delivered: u64,
    /// Number of rows that were not sent, as too many waited.
    pub dropped: u64,
    /// Number of rows that the broker has not acknowledged; it may have some of them all the same.
    pub undelivered: u64,
}

/// The machine of a real run, on which its times depend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostInfo {
    /// Name and version of the operating system, such as `Linux 6.8.0`.
    #[serde(rename = "kernel")]
    pub operating_system: String,
    /// Number of processors that the run could use.
    pub cores: usize,
    /// Load averages of the last 1, 5 and 15 minutes when the run began, where the host reports them.
    pub load_average: Option<[f64; 3]>,
}

/// Which calibration a simulated run used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationInfo {
    /// The calibration's name.
    pub name: String,
    /// SHA-256 of its file, in hexadecimal.
    pub sha256: String,
}

impl RunInfo {
    /// Creates the description of a run by this version of the program.
    pub fn new(world: &str, seed: u64) -> Self {
        Self {
            schema: SCHEMA,
            world: world.to_owned(),
            seed,
            branches: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            calibration: None,
            host: None,
            started: None,
            stopped: None,
            events: None,
        }
    }
}

fn first_schema() -> u32 {
    1
}

fn supported_schema<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let schema = u32::deserialize(deserializer)?;
    if schema > SCHEMA {
        return Err(D::Error::custom(format_args!(
            "its schema is {schema}, and this version of the program reads up to {SCHEMA}"
        )));
    }
    Ok(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_the_first_key() {
        let text = serde_json::to_string(&RunInfo::new("sim", 7)).unwrap();
        assert!(text.starts_with(r#"{"schema":1,"world":"sim","seed":7,"#), "{text}");
        assert_eq!(serde_json::from_str::<RunInfo>(&text).unwrap(), RunInfo::new("sim", 7));
    }

    #[test]
    fn the_operating_system_keeps_the_key_of_earlier_files() {
        let host = HostInfo { operating_system: "Linux 6".to_owned(), cores: 2, load_average: None };
        let text = r#"{"kernel":"Linux 6","cores":2,"load_average":null}"#;
        assert_eq!(serde_json::to_string(&host).unwrap(), text);
    }

    #[test]
    fn a_file_without_a_schema_is_of_the_first() {
        let info: RunInfo = serde_json::from_str(r#"{"world":"sim","seed":7,"version":"0.1.0"}"#).unwrap();
        assert_eq!(info.schema, 1);
    }

    #[test]
    fn a_file_of_a_newer_schema_is_refused_whatever_else_it_says() {
        let error = serde_json::from_str::<RunInfo>(r#"{"schema":2,"world":["sim"]}"#).unwrap_err().to_string();
        assert!(error.starts_with("its schema is 2, and this version of the program reads up to 1"), "{error}");
    }
}
