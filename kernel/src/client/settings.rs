//! `[client]`: the settings of a call and of the client's health checks.

mod profile;

use std::time::Duration;

use crate::{
    policy::{self, Policies},
    settings::{
        kinds_macro::kinds,
        limits,
        named::named,
        problem::Problems,
        samples,
        table::{OFF, Presence, Settings, TableInfo, TableReader},
        table_macro::{NOT_DRAWN, keys, table},
        toml_writer::{TomlWriter, string},
    },
    status::Code,
};

pub use profile::{Profile, ProfileDefault, profile_defaults};

/// `[client]`: how a call is made of attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    /// The set of defaults that the other settings start from.
    pub profile: Profile,
    /// Limit of the whole call, every attempt included.
    pub deadline: Duration,
    /// Limit of one attempt, which never outlives the call's deadline.
    pub attempt_timeout: Duration,
    /// A call waits for a server to be ready instead of failing while none is.
    pub wait_for_ready: bool,
    /// The servers among which the balancer chooses.
    pub server_selection: ServerSelection,
    /// The rule that chooses the server of the next attempt.
    pub load_balancing: Balancing,
    /// The retries after a failed attempt.
    pub retry: Retry,
    /// The checks by which the client watches its servers between calls; `None` is none.
    pub health_check: Option<HealthCheck>,
    /// The conclusions about servers that are drawn from attempts; `None` is none.
    pub passive_health: Option<PassiveHealth>,
    /// The pings that find dead connections; `None` is none.
    pub keepalive: Option<Keepalive>,
    /// Policies that are off unless their table is in the file.
    pub policies: Policies,
    /// The most bytes of a request's message; an attempt with a longer one fails with RESOURCE_EXHAUSTED and is not sent.
    pub max_request_message_bytes: Option<usize>,
    /// The most bytes of a reply's message; an attempt with a longer one fails with RESOURCE_EXHAUSTED.
    pub max_response_message_bytes: Option<usize>,
}

keys! {
    /// The set of defaults: `resilient`, or `grpc` for what a gRPC channel does; the table of profiles lists what differs. A
    /// `service_config` makes it `grpc`.
    const PROFILE = profile: Profile = Profile::Resilient, (), NOT_DRAWN;
    /// Limit of the whole call, every attempt included.
    const DEADLINE = deadline: Duration = Duration::from_secs(30), limits::DURATION,
        &["\"1ms\"", "\"50ms\"", "\"500ms\"", "\"2s\"", "\"2s\"", "\"5s\"", "\"30s\""];
    /// Limit of one attempt, which never outlives the call's deadline.
    const ATTEMPT_TIMEOUT = attempt_timeout: Duration = Duration::from_secs(10), limits::DURATION,
        &["\"1ms\"", "\"30ms\"", "\"300ms\"", "\"300ms\"", "\"1s\"", "\"1s\"", "\"10s\""];
    /// A call waits for a server to be ready instead of failing while none is (gRPC).
    const WAIT_FOR_READY = wait_for_ready: bool = false, (), &["true", "false"];
    /// The servers among which the balancer chooses.
    const SERVER_SELECTION = server_selection: ServerSelection = ServerSelection::PreferHealthy, (),
        &["\"prefer_healthy\"", "\"connection_state\""];
    /// The most bytes of a request's message: an attempt with a longer one fails with RESOURCE_EXHAUSTED and is not sent (gRPC).
    const MAX_REQUEST_MESSAGE_BYTES = max_request_message_bytes: Option<usize> = None, limits::MESSAGE_BYTES, NOT_DRAWN;
    /// The most bytes of a reply's message: an attempt with a longer one fails with RESOURCE_EXHAUSTED (gRPC).
    const MAX_RESPONSE_MESSAGE_BYTES = max_response_message_bytes: Option<usize> = None, limits::MESSAGE_BYTES, NOT_DRAWN;
    // The file is read by `scenario`, which knows the folder that it is relative to.
    /// A gRPC service config in JSON, relative to the scenario file, whose settings the client takes over.
    pub(crate) const SERVICE_CONFIG = service_config: Option<String> = None, (), NOT_DRAWN;
    /// The method of the service config that is rehearsed, as `package.Service/Method`.
    pub(crate) const SERVICE_CONFIG_METHOD = service_config_method: Option<String> = None, (), NOT_DRAWN;
}

impl Default for Client {
    /// Returns the defaults of the profile `resilient`: 30 s for a call, 10 s for an attempt, and those of the other tables.
    fn default() -> Self {
        Self {
            profile: (PROFILE.default)(),
            deadline: (DEADLINE.default)(),
            attempt_timeout: (ATTEMPT_TIMEOUT.default)(),
            wait_for_ready: (WAIT_FOR_READY.default)(),
            server_selection: (SERVER_SELECTION.default)(),
            load_balancing: Balancing::default(),
            retry: Retry::default(),
            health_check: Some(HealthCheck::default()),
            passive_health: Some(PassiveHealth::default()),
            keepalive: None,
            policies: Policies::default(),
            max_request_message_bytes: None,
            max_response_message_bytes: None,
        }
    }
}

macro_rules! client_table {
    ($($policy:ident: $table:ident,)*) => {
        const TABLE: &TableInfo = &TableInfo {
            doc: "`[client]`: how a call is made of attempts.",
            keys: &[
                &PROFILE,
                &DEADLINE,
                &ATTEMPT_TIMEOUT,
                &WAIT_FOR_READY,
                &SERVER_SELECTION,
                &SERVICE_CONFIG,
                &SERVICE_CONFIG_METHOD,
                &MAX_REQUEST_MESSAGE_BYTES,
                &MAX_RESPONSE_MESSAGE_BYTES,
            ],
            tables: &[
                ("load_balancing", Presence::Always, <Balancing as Settings>::TABLE),
                ("retry", Presence::Always, <Retry as Settings>::TABLE),
                ("health_check", Presence::ByProfile, <HealthCheck as Settings>::TABLE),
                ("passive_health", Presence::ByProfile, <PassiveHealth as Settings>::TABLE),
                ("keepalive", Presence::Optional, <Keepalive as Settings>::TABLE),
                $( (stringify!($policy), Presence::Optional, <policy::$table as Settings>::TABLE), )*
            ],
            ..TableInfo::EMPTY
        };
    };
}

policy::each_policy!(client_table);

impl Client {
    /// Returns whether servers report their health on a stream.
    pub(crate) fn watches_health(&self) -> bool {
        self.checks_health()
            && self.health_check.as_ref().is_some_and(|check| check.method == Some(HealthMethod::Watch))
    }

    /// Returns whether servers are checked: the checks are on, and the client chooses among servers by their health.
    pub(crate) fn checks_health(&self) -> bool {
        // gRPC's `pick_first` does not ask for health (A17).
        let is_used =
            self.server_selection == ServerSelection::PreferHealthy || self.load_balancing != Balancing::PickFirst;
        self.health_check.is_some() && is_used
    }
}

impl Settings for Client {
    const TABLE: &'static TableInfo = TABLE;

    fn read(table: &TableReader<'_, '_>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let profile = problems.keep(PROFILE.read(table));
        let policies = problems.keep(Policies::read(table));
        let load_balancing = problems.keep(Balancing::read(&table.table("load_balancing")));
        let retry = problems.keep(Retry::read(&table.table("retry")));
        let deadline = problems.keep(DEADLINE.read(table));
        let attempt_timeout = problems.keep(ATTEMPT_TIMEOUT.read(table));
        let wait_for_ready = problems.keep(WAIT_FOR_READY.read(table));
        let server_selection = problems.keep(SERVER_SELECTION.read(table));
        let health_check = problems.keep(table.switch("health_check"));
        let passive_health = problems.keep(table.switch("passive_health"));
        let keepalive = problems.keep(table.optional("keepalive"));
        let max_request_message_bytes = problems.keep(MAX_REQUEST_MESSAGE_BYTES.read(table));
        let max_response_message_bytes = problems.keep(MAX_RESPONSE_MESSAGE_BYTES.read(table));
        let (
            Some(profile),
            Some(policies),
            Some(load_balancing),
            Some(retry),
            Some(deadline),
            Some(attempt_timeout),
            Some(wait_for_ready),
            Some(server_selection),
            Some(health_check),
            Some(passive_health),
            Some(keepalive),
            Some(max_request_message_bytes),
            Some(max_response_message_bytes),
        ) = (
            profile,
            policies,
            load_balancing,
            retry,
            deadline,
            attempt_timeout,
            wait_for_ready,
            server_selection,
            health_check,
            passive_health,
            keepalive,
            max_request_message_bytes,
            max_response_message_bytes,
        )
        else {
            return Err(problems);
        };
        // A production client's own file is played as its client plays it.
        let is_grpc = table.span(PROFILE.name).is_none() && table.span(SERVICE_CONFIG.name).is_some();
        let mut client = Self {
            profile: if is_grpc { Profile::Grpc } else { profile },
            deadline,
            attempt_timeout,
            wait_for_ready,
            server_selection,
            load_balancing,
            retry,
            health_check: health_check.unwrap_or_else(|| Some(HealthCheck::default())),
            passive_health: passive_health.unwrap_or_else(|| Some(PassiveHealth::default())),
            keepalive,
            policies,
            max_request_message_bytes,
            max_response_message_bytes,
        };
        profile::settle(table, &mut client);
        Ok(client)
    }

    fn write_keys(&self, toml: &mut TomlWriter, path: &str) {
        PROFILE.write(toml, &self.profile);
        DEADLINE.write(toml, &self.deadline);
        ATTEMPT_TIMEOUT.write(toml, &self.attempt_timeout);
        // Left out while it is off, as the policies' tables are.
        if self.wait_for_ready {
            WAIT_FOR_READY.write(toml, &self.wait_for_ready);
        }
        SERVER_SELECTION.write(toml, &self.server_selection);
        let switches =
            [("health_check", self.health_check.is_some()), ("passive_health", self.passive_health.is_some())];
        // Keys come before tables in TOML.
        for (name, _) in switches.into_iter().filter(|(_, is_on)| !is_on) {
            toml.key(name, string(OFF));
        }
        MAX_REQUEST_MESSAGE_BYTES.write(toml, &self.max_request_message_bytes);
        MAX_RESPONSE_MESSAGE_BYTES.write(toml, &self.max_response_message_bytes);
        self.load_balancing.write(toml, &format!("{path}.load_balancing"));
        self.retry.write(toml, &format!("{path}.retry"));
        if let Some(health_check) = &self.health_check {
            health_check.write(toml, &format!("{path}.health_check"));
        }
        if let Some(passive_health) = &self.passive_health {
            passive_health.write(toml, &format!("{path}.passive_health"));
        }
        if let Some(keepalive) = &self.keepalive {
            keepalive.write(toml, &format!("{path}.keepalive"));
        }
        self.policies.write(toml, path);
    }
}

/// The rule that says which servers the balancer chooses among.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ServerSelection {
    /// Connected, healthy servers that are not ejected, while there are any; then the best of the others.
    PreferHealthy,
    /// The states of the connections, as a gRPC channel has them: connected servers; calls wait while one is connecting, and fail if none
    /// can be connected to. `pick_first` stays at its server for as long as that is connected.
    ConnectionState,
}

named!(ServerSelection, "a rule of server selection");

kinds! {
    /// `[client.load_balancing]`: how the server of an attempt is chosen.
    #[derive(Copy, Eq)]
    Balancing, BalancingName by "policy": "a load balancing policy", default RoundRobin {
        /// The first healthy server, for as long as it is healthy.
        PickFirst = "pick_first"
        /// Every healthy server in turn.
        RoundRobin = "round_robin"
        /// A healthy server drawn at random, each as likely as the others.
        Random = "random"
        /// The one with the fewest attempts under way among a few servers drawn at random (gRPC A48, Envoy).
        LeastRequest = "least_request" {
            /// Number of servers that are drawn; gRPC A48's and Envoy's default.
            choice_count: usize = 2, limits::CHOICE_COUNT, &["2", "5", "100"];
        }
        /// The one of two drawn servers with the lower product of latency and load, the latency being a moving average that
        /// jumps to peaks (Finagle, Linkerd, tower).
        PeakEwma = "peak_ewma" {
            /// Time over which the average forgets; Linkerd's default.
            decay: Duration = Duration::from_secs(10), limits::DURATION, samples::TIMES;
            /// Latency of a server without a measurement; Linkerd's default.
            default_rtt: Duration = Duration::from_millis(30), limits::DURATION, samples::TIMES;
        }
    }
}

#[expect(clippy::derivable_impls, reason = "`kinds!` declares the enumeration")]
impl Default for Balancing {
    fn default() -> Self {
        Self::RoundRobin
    }
}

table! {
    /// `[client.retry]`: gRPC A6's retry policy, with jitter of one's choice.
    Retry {
        /// Attempts of a call, the first one included; 1 means no retry. gRPC A6 caps it at 5.
        max_attempts: u32 = 3, limits::MAX_ATTEMPTS, NOT_DRAWN;
        /// Backoff before the second attempt; unlike in A6 it may be zero.
        initial_backoff: Duration = Duration::from_millis(100), limits::WAIT, &["\"0ms\"", "\"1ms\"", "\"100ms\"", "\"1s\""];
        /// The longest backoff, before jitter.
        max_backoff: Duration = Duration::from_secs(5), limits::WAIT, &["\"0ms\"", "\"1ms\"", "\"500ms\"", "\"1h\""];
        /// Ratio of each backoff to the one before it.
        backoff_multiplier: f64 = 2.0, limits::BACKOFF_MULTIPLIER, &["1.0", "1.6", "1000.0"];
        /// How backoffs are spread.
        jitter: Jitter = Jitter::None, (), &["\"none\"", "\"proportional\"", "\"full\"", "\"equal\""];
        /// Statuses after which an attempt is retried.
        retryable_status_codes: Vec<Code> = vec![Code::Unavailable, Code::DeadlineExceeded, Code::Internal],
            "to retry nothing, write max_attempts = 1 instead", samples::CODES;
        /// A retry goes to a server that this call has not failed on, while there is one.
        prefer_other_server: bool = true, (), samples::FLAGS;
        /// The point from which a call stays with its attempt: no retry follows, and other hedges are cancelled.
        commit: Commit = Commit::Reply, (), &["\"reply\"", "\"headers\""];
        /// An attempt that no server has seen is sent again at once, beyond `max_attempts` and the limits of retries (gRPC A6).
        transparent: bool = false, (), samples::FLAGS;
        /// The end of a call whose next backoff or pushback would outlast its deadline.
        past_deadline: PastDeadline = PastDeadline::LastStatus, (), &["\"last_status\"", "\"deadline_exceeded\""];
    }
}

/// The point from which a call stays with one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Commit {
    /// The whole reply. An attempt that breaks off in its reply is retried.
    Reply,
    /// The headers of the reply (gRPC A6).
    Headers,
}

named!(Commit, "a point at which a call commits");

/// The end of a call whose next wait would outlast its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum PastDeadline {
    /// The call ends at once, with the status of its last attempt.
    LastStatus,
    /// The call waits until its deadline and ends with DEADLINE_EXCEEDED, as gRPC's do.
    DeadlineExceeded,
}

named!(PastDeadline, "an end of a call");

/// The distribution that a computed backoff `x` is drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Jitter {
    /// `x`
    None,
    /// `x · U(0.8, 1.2)`, gRPC A6
    Proportional,
    /// `U(0, x)`
    Full,
    /// `x/2 + U(0, x/2)`
    Equal,
}

named!(Jitter, "a kind of jitter");

table! {
    /// `[client.health_check]`: active checks by `grpc.health.v1`.
    #[derive(Eq)]
    HealthCheck {
        /// A `check` at every interval, which is the default, or a stream on which servers report (`watch`), as gRPC's channels have it (A17).
        method: Option<HealthMethod> = None, (), &["\"check\"", "\"watch\""];
        /// Time between two checks of one server, and how long a result is valid. With `watch`, the time after which a server is asked again
        /// that an attempt has made unhealthy.
        interval: Duration = Duration::from_secs(5), limits::INTERVAL, &["\"50ms\"", "\"500ms\"", "\"5s\"", "\"1h\""];
        /// Time after which a check without an answer has failed. A stream has no limit.
        timeout: Duration = Duration::from_secs(1), limits::DURATION, &["\"1ms\"", "\"100ms\"", "\"1s\""];
        /// The service that is asked about; `""` is the server as a whole. By default that of the workload, and `""` with an app.
        service: Option<String> = None, (), NOT_DRAWN;
    }
}

/// The method of `grpc.health.v1` by which servers are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum HealthMethod {
    /// `Check`: a call at every interval.
    Check,
    /// `Watch`: a stream per connection on which the server reports each change (gRPC A17). Its first report is waited for.
    Watch,
}

named!(HealthMethod, "a method of health checks");

table! {
    /// `[client.passive_health]`: what the attempts of calls say about servers (the failure detection of a resilient client). A
    /// server becomes unhealthy by a status of the list or when it cannot be connected to, and healthy by a success.
    PassiveHealth {
        /// Statuses after which a server counts as unhealthy.
        status_codes: Vec<Code> = vec![Code::Unavailable, Code::DeadlineExceeded, Code::Internal],
            "to draw no conclusions from attempts, write client.passive_health = \"off\" instead", samples::CODES;
    }
}

table! {
    /// `[client.keepalive]`: HTTP/2 pings that find a dead connection (gRPC A8, A9).
    #[derive(Copy, Eq)]
    Keepalive {
        /// Time without a message of the server after which it is pinged.
        time: Duration = Duration::from_secs(20), limits::INTERVAL, &["\"100ms\"", "\"1s\"", "\"20s\""];
        /// Time after which a connection without an answer to its ping is closed, and its calls fail with UNAVAILABLE.
        timeout: Duration = Duration::from_secs(20), limits::DURATION, &["\"50ms\"", "\"500ms\"", "\"20s\""];
        /// Connections without calls are pinged, too.
        without_calls: bool = false, (), samples::FLAGS;
        /// Time after which a connection fails whose bytes nothing acknowledges (`TCP_USER_TIMEOUT`), which gRPC sets to `timeout` (A18);
        /// without it, TCP gives up after 15 retransmissions, that is 924.6s.
        user_timeout: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
    }
}
