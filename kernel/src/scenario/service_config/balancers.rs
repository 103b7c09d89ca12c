//! `loadBalancingConfig` and `loadBalancingPolicy`: the balancer of a service config.

use super::{
    Balancing,
    json::{Fault, Node},
};
use crate::{
    policy::{FailurePercentage, OutlierDetection, SuccessRate},
    settings::limits,
};

/// The most that gRPC takes as `choiceCount` (A48).
pub(super) const CHOICE_COUNT_MAX: usize = 10;

/// Policies that an implementation of gRPC has, and the rehearsal does not.
const UNSUPPORTED: [&str; 14] = [
    "cds_experimental",
    "cluster_resolver_experimental",
    "grpclb",
    "priority_experimental",
    "random_subsetting_experimental",
    "ring_hash_experimental",
    "rls_experimental",
    "weighted_round_robin",
    "weighted_target_experimental",
    "wrr_locality_experimental",
    "xds_cluster_impl_experimental",
    "xds_cluster_manager_experimental",
    "xds_override_host_experimental",
    "xds_wrr_locality_experimental",
];

/// A balancer, and the outlier detection around it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Balancer {
    pub(super) balancing: Balancing,
    pub(super) outlier_detection: Option<OutlierDetection>,
}

/// Reads `loadBalancingPolicy`, the field from before `loadBalancingConfig`.
pub(super) fn named(policy: &Node<'_>) -> Result<Option<Balancing>, Fault> {
    match policy.text()?.to_lowercase().as_str() {
        "" => Ok(None),
        "round_robin" => Ok(Some(Balancing::RoundRobin)),
        "pick_first" => Ok(Some(Balancing::PickFirst)),
        "least_request_experimental" => Ok(Some(least_request_by_default())),
        name @ "outlier_detection_experimental" => {
            Err(policy
                .refused(&format!("LB policy \"{name}\" requires a config. Please use loadBalancingConfig instead.")))
        }
        name if UNSUPPORTED.contains(&name) => Err(unsupported(policy, name)),
        name => Err(policy.refused(&format!("unknown LB policy \"{name}\""))),
    }
}

/// Reads the first policy of a list that gRPC knows. Those before it are noted; those after it are not looked at, as in gRPC.
pub(super) fn first(policies: &Node<'_>) -> Result<Balancer, Fault> {
    let mut unknown = Vec::new();
    for entry in policies.items()? {
        let (name, config) = entry.only_key()?;
        if !config.is_object() {
            return Err(config.refused("child entry should be of type object"));
        }
        let balancer = match name {
            "round_robin" => {
                config.fields(&[])?;
                Balancing::RoundRobin.into()
            }
            "pick_first" => pick_first(&config)?.into(),
            "least_request_experimental" => least_request(&config)?.into(),
            "outlier_detection_experimental" => with_outlier_detection(&config)?,
            name if UNSUPPORTED.contains(&name) => return Err(unsupported(&config, name)),
            name => {
                unknown.push(name);
                config.note("gRPC does not know this policy, and takes the first one behind it that it knows");
                continue;
            }
        };
        return Ok(balancer);
    }
    Err(policies.refused(format!("No known policies in list: {}", unknown.join(" ")).trim_end()))
}

impl From<Balancing> for Balancer {
    fn from(balancing: Balancing) -> Self {
        Self { balancing, outlier_detection: None }
    }
}

fn unsupported(place: &Node<'_>, name: &str) -> Fault {
    place.fault(format!(
        "gRPC knows `{name}` and would take it, but a rehearsal does not have it; rehearse with `round_robin`, `pick_first`, \
         `least_request_experimental` or `outlier_detection_experimental` in its place"
    ))
}

fn pick_first(config: &Node<'_>) -> Result<Balancing, Fault> {
    if let Some(shuffle) = config.fields(&["shuffleAddressList"])?.get("shuffleAddressList")
        && shuffle.boolean()?
    {
        shuffle.note("a rehearsal has one client, whose shuffled list is that of the servers in their order");
    }
    Ok(Balancing::PickFirst)
}

fn least_request_by_default() -> Balancing {
    Balancing::LeastRequest { choice_count: *limits::CHOICE_COUNT.start() }
}

fn least_request(config: &Node<'_>) -> Result<Balancing, Fault> {
    config.note(
        "grpc-java and grpc-go know this policy; gRPC's core does not, and takes the first one behind it that it knows",
    );
    let Some(count) = config.fields(&["choiceCount"])?.get("choiceCount").cloned() else {
        return Ok(least_request_by_default());
    };
    let choice_count = count.count()?;
    if choice_count < *limits::CHOICE_COUNT.start() {
        return Err(count.refused("must be at least 2 (A48)"));
    }
    if choice_count > CHOICE_COUNT_MAX {
        count.note(format!("gRPC takes {CHOICE_COUNT_MAX} at most (A48)"));
    }
    Ok(Balancing::LeastRequest { choice_count: choice_count.min(CHOICE_COUNT_MAX) })
}

fn with_outlier_detection(config: &Node<'_>) -> Result<Balancer, Fault> {
    let fields = config.fields(&[
        "interval",
        "baseEjectionTime",
        "maxEjectionTime",
        "maxEjectionPercent",
        "successRateEjection",
        "failurePercentageEjection",
        "childPolicy",
    ])?;
    let child = fields.required("childPolicy")?;
    let Balancer { balancing, outlier_detection: below } = first(child)?;
    if below.is_some() {
        return Err(child.fault("an outlier detection within another is not supported; leave one of them out"));
    }
    // gRPC has no ejection for errors in a row.
    let default = OutlierDetection { consecutive_errors: 0, ..OutlierDetection::default() };
    let percent = fields.get("maxEjectionPercent").map_or(Ok(default.max_ejection_percent), Node::percent)?;
    let time = |name, default| fields.get(name).map_or(Ok(default), Node::duration);
    let interval = time("interval", default.interval)?;
    let base_ejection_time = time("baseEjectionTime", default.base_ejection_time)?;
    let max_ejection_time = time("maxEjectionTime", default.max_ejection_time)?;
    let shortest = *limits::INTERVAL.start();
    if let Some(node) = fields.get("interval").filter(|_| interval < shortest) {
        node.note("a rehearsal sweeps once in a millisecond at most");
    }
    let detection = OutlierDetection {
        interval: interval.max(shortest),
        base_ejection_time: base_ejection_time.max(*limits::DURATION.start()),
        max_ejection_time: max_ejection_time.max(*limits::DURATION.start()),
        max_ejection_percent: percent,
        success_rate: fields.get("successRateEjection").map(success_rate).transpose()?,
        failure_percentage: fields.get("failurePercentageEjection").map(failure_percentage).transpose()?,
        ..default
    };
    Ok(Balancer { balancing, outlier_detection: Some(detection) })
}

fn success_rate(node: &Node<'_>) -> Result<SuccessRate, Fault> {
    let fields = node.fields(&["stdevFactor", "enforcementPercentage", "minimumHosts", "requestVolume"])?;
    let default = SuccessRate::default();
    let count = |name, default| fields.get(name).map_or(Ok(default), Node::count);
    Ok(SuccessRate {
        stdev_factor: count("stdevFactor", default.stdev_factor)?,
        enforcement_percentage: fields
            .get("enforcementPercentage")
            .map_or(Ok(default.enforcement_percentage), Node::percent)?,
        minimum_hosts: count("minimumHosts", default.minimum_hosts)?,
        request_volume: count("requestVolume", default.request_volume)?,
    })
}

fn failure_percentage(node: &Node<'_>) -> Result<FailurePercentage, Fault> {
    let fields = node.fields(&["threshold", "enforcementPercentage", "minimumHosts", "requestVolume"])?;
    let default = FailurePercentage::default();
    let count = |name, default| fields.get(name).map_or(Ok(default), Node::count);
    let percent = |name, default| fields.get(name).map_or(Ok(default), Node::percent);
    Ok(FailurePercentage {
        threshold: percent("threshold", default.threshold)?,
        enforcement_percentage: percent("enforcementPercentage", default.enforcement_percentage)?,
        minimum_hosts: count("minimumHosts", default.minimum_hosts)?,
        request_volume: count("requestVolume", default.request_volume)?,
    })
}
