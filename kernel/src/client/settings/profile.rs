//! Profiles: the sets of defaults of `[client]`.
//!
//! The client of a resilient service and a gRPC channel are different clients. A profile names one of the two, and each of the settings
//! in which they differ is a key of its own that a file can set.

use super::{Balancing, Client, Commit, Jitter, PastDeadline, ServerSelection};
use crate::{
    policy::{AllEjected, OutlierDetection},
    settings::{
        named::named,
        source::Source,
        table::{Settings, TableReader},
        toml_writer::TomlWriter,
    },
};

/// A set of defaults of `[client]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Profile {
    /// A client that checks its servers, draws conclusions from failures, and retries elsewhere.
    Resilient,
    /// A gRPC channel.
    Grpc,
}

named!(Profile, "a profile");

impl Profile {
    /// Returns a client with the defaults of the profile.
    pub(crate) fn client(self) -> Client {
        let mut client = Client { profile: self, ..Client::default() };
        if self == Self::Grpc {
            DIFFERENCES.iter().for_each(|difference| (difference.set)(&mut client));
        }
        client
    }

    /// Returns what happens to attempts while every server is ejected, unless a file says.
    pub(crate) fn all_ejected(self) -> AllEjected {
        match self {
            Self::Resilient => AllEjected::AskAnyway,
            Self::Grpc => AllEjected::Fail,
        }
    }
}

/// A setting in which the profiles differ.
struct Difference {
    /// The path of its key below `client`.
    path: &'static str,
    /// Sets the default of `grpc`.
    set: fn(&mut Client),
    /// The default of `grpc` in words, where it is no fixed value.
    words: Option<&'static str>,
}

impl Difference {
    const fn new(path: &'static str, set: fn(&mut Client)) -> Self {
        Self { path, set, words: None }
    }
}

/// Every setting in which the profiles differ. Sources: gRPC A6 (retries), A17 (health checks), A50 (outlier detection), A62
/// (`pick_first`), and gRPC's documents on load balancing, service configs and wait-for-ready.
const DIFFERENCES: &[Difference] = &[
    // A call has a deadline; gRPC has no limit of one attempt.
    Difference {
        words: Some("the `deadline`"),
        ..Difference::new("attempt_timeout", |client| client.attempt_timeout = client.deadline)
    },
    Difference::new("server_selection", |client| client.server_selection = ServerSelection::ConnectionState),
    Difference::new("load_balancing.policy", |client| client.load_balancing = Balancing::PickFirst),
    Difference::new("retry.max_attempts", |client| client.retry.max_attempts = 1),
    Difference::new("retry.jitter", |client| client.retry.jitter = Jitter::Proportional),
    Difference::new("retry.prefer_other_server", |client| client.retry.prefer_other_server = false),
    Difference::new("retry.commit", |client| client.retry.commit = Commit::Headers),
    Difference::new("retry.transparent", |client| client.retry.transparent = true),
    Difference::new("retry.past_deadline", |client| client.retry.past_deadline = PastDeadline::DeadlineExceeded),
    Difference::new("health_check", |client| client.health_check = None),
    Difference::new("passive_health", |client| client.passive_health = None),
    Difference::new("outlier_detection.all_ejected", |client| {
        if let Some(table) = &mut client.policies.outlier_detection {
            table.all_ejected = Profile::Grpc.all_ejected();
        }
    }),
];

/// Gives the settings that `table` does not have the defaults of the client's profile. They have those of `resilient` before.
pub(super) fn settle(table: &TableReader<'_, '_>, client: &mut Client) {
    if client.profile == Profile::Grpc {
        DIFFERENCES.iter().filter(|difference| !is_written(table, difference.path)).for_each(|it| (it.set)(client));
    }
}

/// Returns whether `table` has a key at `path`.
fn is_written(table: &TableReader<'_, '_>, path: &str) -> bool {
    match path.split_once('.') {
        Some((inner, key)) => table.table(inner).span(key).is_some(),
        None => table.span(path).is_some(),
    }
}

/// A setting in which the profiles differ, with its defaults as TOML or in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileDefault {
    /// The path of the setting, such as `client.retry.commit`.
    pub path: String,
    /// Its default in the profile `resilient`.
    pub resilient: String,
    /// Its default in the profile `grpc`.
    pub grpc: String,
}

/// Returns the settings in which the profiles differ, in the order of the reference.
///
/// ```
/// let commit = kernel::client::settings::profile_defaults().into_iter().find(|it| it.path == "client.retry.commit");
/// assert_eq!(commit.map(|it| (it.resilient, it.grpc)), Some(("\"reply\"".to_owned(), "\"headers\"".to_owned())));
/// ```
pub fn profile_defaults() -> Vec<ProfileDefault> {
    let mut resilient = Client::default();
    resilient.policies.outlier_detection = Some(OutlierDetection::default());
    let mut grpc = Client { profile: Profile::Grpc, ..resilient.clone() };
    DIFFERENCES.iter().for_each(|difference| (difference.set)(&mut grpc));
    let rows = DIFFERENCES.iter().map(|difference| ProfileDefault {
        path: format!("client.{}", difference.path),
        resilient: written_at(&resilient, difference.path),
        grpc: difference.words.map_or_else(|| written_at(&grpc, difference.path), str::to_owned),
    });
    rows.collect()
}

/// Returns the setting at `path` as the client writes it; a table that is on is `on`.
fn written_at(client: &Client, path: &str) -> String {
    let mut toml = TomlWriter::default();
    client.write(&mut toml, "client");
    let text = toml.into_text();
    let source = Source::new("client", &text, &[]);
    let Ok(file) = source.parse() else { return String::new() };
    let mut value = file.get_ref().get("client").map(toml::Spanned::get_ref);
    for key in path.split('.') {
        value = value.and_then(|value| value.as_table()?.get(key)).map(toml::Spanned::get_ref);
    }
    match value {
        Some(value) if value.is_table() => "on".to_owned(),
        Some(value) => value.as_str().filter(|text| *text == "off").map_or_else(|| toml_text(value), str::to_owned),
        None => "off".to_owned(),
    }
}

/// Returns a value of a key as TOML.
fn toml_text(value: &toml::de::DeValue<'_>) -> String {
    match value {
        toml::de::DeValue::String(text) => crate::settings::toml_writer::string(text),
        toml::de::DeValue::Boolean(flag) => flag.to_string(),
        toml::de::DeValue::Integer(number) => number.as_str().to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn client(keys: &str) -> Client {
        let text = format!("name = \"x\"\nduration = \"1s\"\n[load]\nrate = 1\n[client]\n{keys}");
        Scenario::parse("x.toml", &text, &[]).unwrap_or_else(|error| panic!("{error}")).client
    }

    #[test]
    fn a_profile_is_a_set_of_defaults_and_each_of_its_settings_can_be_set() {
        assert_eq!(client(""), Client::default());
        assert_eq!(client("profile = \"resilient\"\n"), Client::default());
        let grpc = client("profile = \"grpc\"\ndeadline = \"3s\"\n[client.outlier_detection]\n");
        let Client { retry, .. } = &grpc;
        assert_eq!((grpc.attempt_timeout, retry.max_attempts), (grpc.deadline, 1));
        assert_eq!((retry.commit, retry.transparent, retry.prefer_other_server), (Commit::Headers, true, false));
        assert_eq!(
            (grpc.load_balancing, grpc.server_selection),
            (Balancing::PickFirst, ServerSelection::ConnectionState)
        );
        assert_eq!((&grpc.health_check, &grpc.passive_health), (&None, &None));
        assert_eq!(grpc.policies.outlier_detection.map(|table| table.all_ejected), Some(AllEjected::Fail));
        let mixed = client(
            "profile = \"grpc\"\nhealth_check = \"on\"\n[client.retry]\ncommit = \"reply\"\nmax_attempts = 4\n\
             [client.passive_health]\nstatus_codes = [\"INTERNAL\"]\n",
        );
        assert_eq!((mixed.retry.commit, mixed.retry.max_attempts, mixed.retry.transparent), (Commit::Reply, 4, true));
        assert!(mixed.health_check.is_some() && mixed.passive_health.is_some());
    }

    #[test]
    fn health_is_switched_off_in_every_profile() {
        for profile in ["resilient", "grpc"] {
            let off = client(&format!("profile = \"{profile}\"\nhealth_check = \"off\"\npassive_health = \"off\"\n"));
            assert_eq!((off.health_check, off.passive_health), (None, None), "{profile}");
        }
    }

    #[test]
    fn every_difference_is_a_key_of_the_format_with_two_defaults() {
        let keys: Vec<String> = crate::scenario::reference::reference().into_iter().map(|key| key.path).collect();
        for row in profile_defaults() {
            assert!(row.resilient != row.grpc && !row.resilient.is_empty(), "{row:?}");
            assert!(keys.iter().any(|key| *key == row.path || key.starts_with(&format!("{}.", row.path))), "{row:?}");
        }
    }
}
