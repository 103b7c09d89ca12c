//! The correspondences between faults of scenarios and those of other tools: one table, which both directions and the documentation read.

use std::fmt::Write as _;

use clap::ValueEnum;

use self::Tool::{ChaosMesh as M, ChaosToolkit as K, Litmus as L, Toxiproxy as X};
use super::unit::Unit::{
    self, Assumed, BitsPerSecond, BytesPerSecond, Duration, Fill, HttpCode, KilobytesPerSecond, Millis, Needs, Only,
    Percent, Same, Seconds, Share, Words, Workers, Zero,
};

/// A tool that injects faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tool {
    /// An experiment of Chaos Toolkit.
    #[value(name = "chaostoolkit")]
    ChaosToolkit,
    /// Manifests of Chaos Mesh.
    ChaosMesh,
    /// Manifests of Litmus.
    Litmus,
    /// The proxies of toxiproxy, with their toxics.
    Toxiproxy,
}

impl Tool {
    /// Returns its name for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ChaosToolkit => "Chaos Toolkit",
            Self::ChaosMesh => "Chaos Mesh",
            Self::Litmus => "Litmus",
            Self::Toxiproxy => "toxiproxy",
        }
    }
}

/// The counterpart of one verb of a tool.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) tool: Tool,
    /// The verb, such as `NetworkChaos delay`.
    pub(super) verb: &'static str,
    /// The kind of the fault; empty if there is none.
    pub(super) kind: &'static str,
    pub(super) fields: &'static [Field],
    /// The verb is read and not written.
    pub(super) is_read_only: bool,
    /// The difference from the fault; of a verb without a kind, why there is none, and which one is the nearest.
    pub(super) note: &'static str,
}

/// A key of a fault and the field of the verb that it corresponds to.
#[derive(Debug)]
pub(super) struct Field {
    /// The path of the field; empty if the verb has none.
    pub(super) theirs: &'static str,
    /// The key; empty if the fault has none.
    pub(super) ours: &'static str,
    pub(super) unit: Unit,
}

const fn field(theirs: &'static str, ours: &'static str, unit: Unit) -> Field {
    Field { theirs, ours, unit }
}

const fn both(tool: Tool, verb: &'static str, kind: &'static str, fields: &'static [Field], note: &'static str) -> Row {
    Row { tool, verb, kind, fields, is_read_only: false, note }
}

const fn read(tool: Tool, verb: &'static str, kind: &'static str, fields: &'static [Field], note: &'static str) -> Row {
    Row { tool, verb, kind, fields, is_read_only: true, note }
}

const fn never(tool: Tool, verb: &'static str, note: &'static str) -> Row {
    Row { tool, verb, kind: "", fields: &[], is_read_only: true, note }
}

/// A `NetworkChaos` without a `target` calls what its pods send `to`, which a scenario calls `from` the server.
const MESH_WAY: Field =
    field("direction", "direction", Words(&[("to", "from"), ("from", "to"), ("both", "both")], "to"));
const TOXIC_WAY: Field =
    field("stream", "direction", Words(&[("upstream", "to"), ("downstream", "from")], "downstream"));
const TOXICITY: Field = field("toxicity", "share", Share);
const ALL_CALLS: Field = field("", "rate", Only("1.0", "it applies to all calls"));
const EGRESS: Field = field("", "direction", Only("\"from\"", "it applies to what the pod sends"));
const RESTART: Field = field(
    "",
    "restart_after",
    Assumed("\"2s\"", "its controller starts another pod at a time of its own, here 2 s later"),
);
const GRACE: Field = field("", "grace", Assumed("\"30s\"", "the grace period is that of the pod, 30 s by default"));
const TOXI_WAY: Field = field("", "direction", Only("\"from\"", "the toxic is on the stream `downstream`"));

const WITH_TLS: &str = "the servers have TLS (`start_servers` with `--tls-cert` and `--tls-key`)";

/// Every verb that is known.
pub(super) const TABLE: &[Row] = &[
    both(K, "chaosrehearsal.actions.inject crash", "crash", &[], "`start_servers` starts it again"),
    both(
        K,
        "chaosrehearsal.actions.inject drain",
        "drain",
        &[field("options.grace", "grace", Duration)],
        "`start_servers` starts it again",
    ),
    both(K, "chaosrehearsal.actions.inject freeze", "freeze", &[], ""),
    both(
        K,
        "chaosrehearsal.actions.inject delay",
        "delay",
        &[
            field("options.latency", "latency", Duration),
            field("options.jitter", "jitter", Duration),
            field("options.direction", "direction", Same),
            field("options.share", "share", Share),
        ],
        "",
    ),
    both(
        K,
        "chaosrehearsal.actions.inject partition",
        "partition",
        &[field("options.direction", "direction", Same), field("options.share", "share", Share)],
        "",
    ),
    both(K, "chaosrehearsal.actions.inject half-open", "half_open", &[field("options.share", "share", Share)], ""),
    both(
        K,
        "chaosrehearsal.actions.inject loss",
        "loss",
        &[
            field("options.rate", "rate", Share),
            field("options.direction", "direction", Same),
            field("options.share", "share", Share),
            field("options.enter_burst", "enter_burst", Share),
            field("options.exit_burst", "exit_burst", Share),
            field("options.loss_in_burst", "loss_in_burst", Share),
            field("options.loss_outside", "loss_outside", Share),
        ],
        "",
    ),
    both(
        K,
        "chaosrehearsal.actions.inject bandwidth",
        "bandwidth",
        &[
            field("options.rate", "rate", BitsPerSecond),
            field("options.direction", "direction", Same),
            field("options.share", "share", Share),
        ],
        "",
    ),
    both(K, "chaosrehearsal.actions.inject reset", "reset", &[field("options.share", "share", Share)], ""),
    both(
        K,
        "chaosrehearsal.actions.inject errors",
        "errors",
        &[
            field("options.rate", "rate", Share),
            field("options.status", "status", Same),
            field("options.call_delay", "delay", Duration),
        ],
        "",
    ),
    both(K, "chaosrehearsal.actions.inject slow", "slow", &[field("options.factor", "factor", Share)], ""),
    both(K, "chaosrehearsal.actions.inject certificate-expired", "certificate_expired", &[], WITH_TLS),
    both(K, "chaosrehearsal.actions.inject certificate-untrusted", "certificate_untrusted", &[], WITH_TLS),
    read(K, "chaosrehearsal.actions.stop_servers", "drain", &[GRACE], "until `start_servers`"),
    read(
        K,
        "chaosk8s.pod.actions.terminate_pods",
        "crash",
        &[RESTART],
        "with a `grace_period` of 0; otherwise a `drain`",
    ),
    read(
        K,
        "chaosk8s.pod.actions.terminate_pods gracefully",
        "drain",
        &[field("grace_period", "grace", Seconds), RESTART],
        "",
    ),
    read(K, "chaosk8s.deployment.actions.scale_deployment", "crash", &[], "with `replicas: 0`, all servers"),
    read(
        K,
        "chaosk8s.networking.actions.deny_all_ingress",
        "partition",
        &[field("", "direction", Only("\"to\"", "it is of what the pods get"))],
        "until `remove_deny_all_ingress`",
    ),
    read(
        K,
        "chaosk8s.networking.actions.deny_all_egress",
        "partition",
        &[field("", "direction", Only("\"from\"", "it is of what the pods send"))],
        "until `remove_deny_all_egress`",
    ),
    read(
        K,
        "chaosk8s.chaosmesh.network.actions.add_latency",
        "delay",
        &[field("latency", "latency", Duration), field("jitter", "jitter", Duration), MESH_WAY],
        "until `delete_network_fault`",
    ),
    read(
        K,
        "chaosk8s.chaosmesh.network.actions.set_loss",
        "loss",
        &[field("loss", "rate", Percent), MESH_WAY],
        "until `delete_network_fault`",
    ),
    read(
        K,
        "chaosk8s.chaosmesh.network.actions.corrupt_packets",
        "loss",
        &[field("corrupt", "rate", Percent), MESH_WAY],
        "TCP drops a segment with a wrong checksum",
    ),
    read(
        K,
        "chaosk8s.chaosmesh.network.actions.set_bandwidth",
        "bandwidth",
        &[field("rate", "rate", BytesPerSecond), MESH_WAY],
        "until `delete_network_fault`",
    ),
    read(
        K,
        "chaosk8s.chaosmesh.stress.actions.stress_cpu",
        "slow",
        &[field("workers", "factor", Workers("load"))],
        "for its `duration`, 30 s by default",
    ),
    never(
        K,
        "chaosk8s.chaosmesh.stress.actions.stress_memory",
        "memory is not modelled; the nearest is `crash`, which is what its end is",
    ),
    read(K, "chaosk8s.statefulset.actions.scale_statefulset", "crash", &[], "with `replicas: 0`, all servers"),
    never(
        K,
        "chaosk8s.node.actions.drain_nodes",
        "nodes are not modelled; the nearest is `drain` of the servers on it",
    ),
    never(
        K,
        "chaosk8s.node.actions.delete_nodes",
        "nodes are not modelled; the nearest is `crash` of the servers on it",
    ),
    never(
        K,
        "chaosk8s.pod.actions.exec_in_pods",
        "what the command does is not known; the nearest are `freeze` and `slow`",
    ),
    never(
        K,
        "chaosk8s.chaosmesh.network.actions.duplicate_packets",
        "TCP ignores a segment that it has; there is nothing to see above it",
    ),
    never(
        K,
        "chaosk8s.chaosmesh.network.actions.reorder_packets",
        "segments stay in order; the nearest is `delay` with a `jitter`",
    ),
    read(
        K,
        "chaostoxi.toxic.actions.create_latency_toxic",
        "delay",
        &[field("latency", "latency", Millis), field("jitter", "jitter", Millis), TOXI_WAY],
        "until `delete_toxic`",
    ),
    read(
        K,
        "chaostoxi.toxic.actions.create_bandwith_degradation_toxic",
        "bandwidth",
        &[field("rate", "rate", KilobytesPerSecond), TOXI_WAY],
        "until `delete_toxic`",
    ),
    read(
        K,
        "chaostoxi.toxic.actions.create_timeout_toxic",
        "partition",
        &[field("timeout", "", Zero), TOXI_WAY],
        "until `delete_toxic`",
    ),
    never(
        K,
        "chaostoxi.toxic.actions.create_slow_connection_close_toxic",
        "the end of a connection alone is not delayed; the nearest is `delay`",
    ),
    never(
        K,
        "chaostoxi.toxic.actions.create_slicer_toxic",
        "TCP does not keep the bounds of writes; the nearest is `bandwidth`",
    ),
    never(
        K,
        "chaostoxi.toxic.actions.create_limiter_toxic",
        "connections have no limit of bytes; the nearest is `reset`",
    ),
    read(K, "chaostoxi.proxy.actions.disable_proxy", "crash", &[], "until `enable_proxy` or `reset`"),
    read(
        K,
        "process kill -KILL",
        "crash",
        &[],
        "also `pkill`, `killall`, `docker kill` and `kubectl delete pod --force`",
    ),
    read(K, "process kill -TERM", "drain", &[GRACE], "also `docker stop` and `kubectl delete pod`"),
    read(K, "process kill -STOP", "freeze", &[], "until `kill -CONT`; also `docker pause`"),
    both(M, "PodChaos pod-failure", "crash", &[], "`restart_after` is its duration"),
    read(M, "PodChaos pod-kill", "crash", &[RESTART], "a `drain` with a `gracePeriod` over 0"),
    both(
        M,
        "PodChaos pod-kill gracefully",
        "drain",
        &[field("gracePeriod", "grace", Seconds), RESTART],
        "pod-kill with a `gracePeriod`",
    ),
    read(M, "PodChaos container-kill", "crash", &[RESTART], ""),
    both(
        M,
        "NetworkChaos delay",
        "delay",
        &[field("delay.latency", "latency", Duration), field("delay.jitter", "jitter", Duration), MESH_WAY],
        "",
    ),
    both(M, "NetworkChaos loss", "loss", &[field("loss.loss", "rate", Percent), MESH_WAY], ""),
    read(
        M,
        "NetworkChaos corrupt",
        "loss",
        &[field("corrupt.corrupt", "rate", Percent), MESH_WAY],
        "TCP drops a segment with a wrong checksum",
    ),
    never(M, "NetworkChaos duplicate", "TCP ignores a segment that it has; there is nothing to see above it"),
    both(M, "NetworkChaos partition", "partition", &[MESH_WAY], ""),
    both(
        M,
        "NetworkChaos bandwidth",
        "bandwidth",
        &[
            field("bandwidth.rate", "rate", BytesPerSecond),
            field("bandwidth.limit", "", Fill("20971520")),
            field("bandwidth.buffer", "", Fill("10000")),
            MESH_WAY,
        ],
        "",
    ),
    both(
        M,
        "HTTPChaos abort",
        "errors",
        &[
            field("abort", "", Fill("true")),
            ALL_CALLS,
            field("", "status", Only("\"UNAVAILABLE\"", "the connection ends, which gRPC reports as UNAVAILABLE")),
        ],
        "",
    ),
    both(M, "HTTPChaos delay", "errors", &[field("delay", "delay", Duration), ALL_CALLS], ""),
    both(M, "HTTPChaos replace", "errors", &[field("replace.code", "status", HttpCode), ALL_CALLS], ""),
    both(
        M,
        "StressChaos cpu",
        "slow",
        &[field("stressors.cpu.workers", "factor", Workers("stressors.cpu.load"))],
        "the factor is that of one processor which all of them share",
    ),
    never(M, "StressChaos memory", "memory is not modelled; the nearest is `crash`, which is what its end is"),
    never(M, "TimeChaos", "every process has the same clock; there is no skew of one"),
    never(M, "IOChaos", "servers have no files; the nearest is `slow`"),
    never(M, "DNSChaos", "servers are listed, not resolved; the nearest is `partition`"),
    never(M, "KernelChaos", "there is no kernel to fail; the nearest is `errors`"),
    never(M, "JVMChaos", "servers are no JVMs; the nearest are `errors` and `slow`"),
    never(M, "BlockChaos", "servers have no disks; the nearest is `slow`"),
    never(M, "AWSChaos", "there are no machines of a cloud; the nearest is `crash`"),
    never(M, "GCPChaos", "there are no machines of a cloud; the nearest is `crash`"),
    never(M, "AzureChaos", "there are no machines of a cloud; the nearest is `crash`"),
    never(M, "PhysicalMachineChaos", "machines are not modelled; the nearest are `crash` and `freeze`"),
    both(L, "pod-delete", "crash", &[field("FORCE", "", Fill("true")), RESTART], "a `drain` with `FORCE` false"),
    both(
        L,
        "pod-delete gracefully",
        "drain",
        &[field("FORCE", "", Fill("false")), GRACE, RESTART],
        "pod-delete with `FORCE` false",
    ),
    read(L, "container-kill", "crash", &[RESTART], ""),
    both(
        L,
        "pod-network-latency",
        "delay",
        &[field("NETWORK_LATENCY", "latency", Millis), field("JITTER", "jitter", Millis), EGRESS],
        "",
    ),
    both(L, "pod-network-loss", "loss", &[field("NETWORK_PACKET_LOSS_PERCENTAGE", "rate", Percent), EGRESS], ""),
    read(
        L,
        "pod-network-corruption",
        "loss",
        &[field("NETWORK_PACKET_CORRUPTION_PERCENTAGE", "rate", Percent), EGRESS],
        "TCP drops a segment with a wrong checksum",
    ),
    never(L, "pod-network-duplication", "TCP ignores a segment that it has; there is nothing to see above it"),
    both(
        L,
        "pod-network-partition",
        "partition",
        &[field("POLICY_TYPES", "direction", Words(&[("all", "both"), ("ingress", "to"), ("egress", "from")], "all"))],
        "",
    ),
    both(L, "pod-network-rate-limit", "bandwidth", &[field("NETWORK_BANDWIDTH", "rate", BitsPerSecond), EGRESS], ""),
    both(
        L,
        "pod-http-status-code",
        "errors",
        &[field("STATUS_CODE", "status", HttpCode), field("TOXICITY", "rate", Percent)],
        "",
    ),
    both(L, "pod-http-latency", "errors", &[field("LATENCY", "delay", Millis), field("TOXICITY", "rate", Percent)], ""),
    both(
        L,
        "pod-http-reset-peer",
        "reset",
        &[
            field("TOXICITY", "share", Percent),
            field("RESET_TIMEOUT", "", Zero),
            field("", "duration", Needs("it lasts; a reset that is over at once has no verb")),
        ],
        "",
    ),
    both(
        L,
        "pod-cpu-hog",
        "slow",
        &[field("CPU_CORES", "factor", Workers("CPU_LOAD"))],
        "the factor is that of one processor which all of them share",
    ),
    never(L, "pod-memory-hog", "memory is not modelled; the nearest is `crash`, which is what its end is"),
    never(L, "pod-autoscaler", "the number of servers is that of the file"),
    never(L, "pod-io-stress", "servers have no files; the nearest is `slow`"),
    never(L, "pod-dns-error", "servers are listed, not resolved; the nearest is `partition`"),
    never(L, "pod-dns-spoof", "servers are listed, not resolved; the nearest is `partition`"),
    never(L, "disk-fill", "servers have no disks; the nearest is `errors` with RESOURCE_EXHAUSTED"),
    never(L, "node-drain", "nodes are not modelled; the nearest is `drain` of the servers on it"),
    never(L, "node-cpu-hog", "nodes are not modelled; the nearest is `slow` of the servers on it"),
    never(L, "node-memory-hog", "nodes are not modelled; the nearest is `crash` of the servers on it"),
    never(L, "node-restart", "nodes are not modelled; the nearest is `crash` of the servers on it"),
    never(L, "kubelet-service-kill", "nodes are not modelled; the nearest is `crash` of the servers on it"),
    both(
        X,
        "toxic latency",
        "delay",
        &[
            field("attributes.latency", "latency", Millis),
            field("attributes.jitter", "jitter", Millis),
            TOXIC_WAY,
            TOXICITY,
        ],
        "",
    ),
    both(
        X,
        "toxic bandwidth",
        "bandwidth",
        &[field("attributes.rate", "rate", KilobytesPerSecond), TOXIC_WAY, TOXICITY],
        "",
    ),
    both(
        X,
        "toxic timeout",
        "partition",
        &[field("attributes.timeout", "", Zero), TOXIC_WAY, TOXICITY],
        "a `timeout` over 0 ends the connection, too",
    ),
    both(
        X,
        "toxic reset_peer",
        "reset",
        &[
            field("attributes.timeout", "", Zero),
            TOXICITY,
            field(
                "",
                "duration",
                Needs("the toxic resets new connections, too; a reset that is over at once has none"),
            ),
        ],
        "",
    ),
    never(X, "toxic slow_close", "the end of a connection alone is not delayed; the nearest is `delay`"),
    never(X, "toxic slicer", "TCP does not keep the bounds of writes; the nearest is `bandwidth`"),
    never(X, "toxic limit_data", "connections have no limit of bytes; the nearest is `reset`"),
    both(X, "enabled: false", "crash", &[], "the proxy refuses connections"),
];

/// Returns the row of a verb.
pub(super) fn row(tool: Tool, verb: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.tool == tool && row.verb == verb)
}

/// Returns the table as Markdown.
pub(crate) fn markdown() -> String {
    let mut text = String::from(
        "| tool | verb | fault | fields, with the keys that they are | remark |\n| --- | --- | --- | --- | --- |\n",
    );
    for Row { tool, verb, kind, fields, is_read_only, note } in TABLE {
        let fields: Vec<_> = fields.iter().filter_map(Field::documented).collect();
        let kind = match (kind.is_empty(), is_read_only) {
            (true, _) => "–".to_owned(),
            (false, true) => format!("→ `{kind}`"),
            (false, false) => format!("↔ `{kind}`"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} | `{verb}` | {kind} | {} | {note} |", tool.name(), fields.join(", "));
    }
    text
}

impl Field {
    fn documented(&self) -> Option<String> {
        let Self { theirs, ours, unit } = self;
        match unit {
            Assumed(value, _) => Some(format!("`{ours} = {value}` by default")),
            Only(value, _) => Some(format!("`{ours} = {value}`")),
            Needs(_) => Some(format!("needs `{ours}`")),
            Fill(_) => None,
            Zero => Some(format!("`{theirs}` 0")),
            _ => Some(format!("`{theirs}` is `{ours}`{}", unit.remark())),
        }
    }
}

#[cfg(test)]
mod tests {
    use kernel::scenario::FaultName;

    use super::*;

    #[test]
    fn every_kind_of_the_table_is_one_and_chaos_toolkit_can_say_each() {
        let kinds: Vec<_> = FaultName::all().map(FaultName::name).collect();
        for row in TABLE {
            assert!(row.kind.is_empty() || kinds.contains(&row.kind), "{}", row.verb);
            assert!(!row.kind.is_empty() || !row.note.is_empty(), "{}: why there is none", row.verb);
        }
        for kind in kinds {
            let said = |row: &&Row| row.tool == K && row.kind == kind && !row.is_read_only;
            assert_eq!(TABLE.iter().filter(said).count(), 1, "{kind}");
        }
    }

    #[test]
    fn a_verb_has_one_row() {
        for row in TABLE {
            let same = TABLE.iter().filter(|other| (other.tool, other.verb) == (row.tool, row.verb));
            assert_eq!(same.count(), 1, "{}", row.verb);
        }
    }
}
