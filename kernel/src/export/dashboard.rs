//! The Grafana dashboard of the exported metrics.

use serde_json::{Value as Json, json};

use super::family::Family;

/// The interval of rates, which Grafana sets by the time between two values on the screen.
const RATE_INTERVAL: &str = "$__rate_interval";

/// A panel: a title, the unit of its axis, and its lines with their legends.
struct Panel {
    title: &'static str,
    unit: &'static str,
    lines: Vec<(String, &'static str)>,
}

impl Panel {
    fn new(title: &'static str, unit: &'static str, lines: Vec<(String, &'static str)>) -> Self {
        Self { title, unit, lines }
    }
}

/// Returns the panels, two in a row.
fn panels() -> Vec<Panel> {
    let good = format!(
        "sum(rate({requests}{{status=\"OK\"}}[{RATE_INTERVAL}])) / sum(rate({requests}[{RATE_INTERVAL}]))",
        requests = Family::Requests.sample_name()
    );
    vec![
        Panel::new("Requests by status", "reqps", vec![(rate_by(Family::Requests, "status"), "{{status}}")]),
        Panel::new("Success rate", "percentunit", vec![(good, "OK")]),
        Panel::new("Latency from the intended start", "s", quantiles(Family::RequestDuration)),
        Panel::new("Duration of attempts", "s", quantiles(Family::AttemptDuration)),
        Panel::new(
            "Active faults",
            "short",
            vec![(format!("max by (kind, target) ({})", Family::FaultActive.sample_name()), "{{kind}} on {{target}}")],
        ),
        Panel::new(
            "Servers",
            "short",
            vec![
                (sum_by(Family::ServerUp, "server"), "{{server}} up"),
                (sum_by(Family::ServerHealthy, "server"), "{{server}} healthy"),
                (sum_by(Family::ServerEjected, "server"), "{{server}} ejected"),
                (sum_by(Family::ServerConnected, "server"), "{{server}} connected"),
            ],
        ),
        Panel::new(
            "Attempts by status",
            "reqps",
            vec![(
                format!("sum by (grpc_status) (rate({}_count[{RATE_INTERVAL}]))", Family::AttemptDuration.name()),
                "{{grpc_status}}",
            )],
        ),
        Panel::new(
            "Retries, hedges and failovers",
            "reqps",
            vec![
                (format!("sum(rate({}_sum[{RATE_INTERVAL}]))", Family::CallRetries.name()), "retries"),
                (format!("sum(rate({}_sum[{RATE_INTERVAL}]))", Family::CallHedges.name()), "hedges"),
                (format!("sum(rate({}[{RATE_INTERVAL}]))", Family::Failovers.sample_name()), "failovers"),
            ],
        ),
        Panel::new(
            "Circuit breakers that are not closed",
            "short",
            vec![(
                format!("sum by (server, state) ({}{{state!=\"closed\"}})", Family::BreakerState.sample_name()),
                "{{server}} {{state}}",
            )],
        ),
        Panel::new(
            "Rejected and throttled attempts",
            "reqps",
            vec![(rate_by(Family::Rejected, "cause"), "{{cause}}"), (rate_by(Family::Throttled, "cause"), "{{cause}}")],
        ),
        Panel::new(
            "In flight",
            "short",
            vec![
                (sum_by(Family::AttemptsInFlight, "server"), "attempts on {{server}}"),
                (format!("sum({})", Family::RequestsInFlight.sample_name()), "calls"),
                (format!("sum(rate({}[{RATE_INTERVAL}]))", Family::RequestsDropped.sample_name()), "dropped a second"),
            ],
        ),
        Panel::new(
            "Queue and workers",
            "short",
            vec![
                (sum_by(Family::QueueLength, "server"), "{{server}} waiting"),
                (sum_by(Family::BusyWorkers, "server"), "{{server}} busy"),
                (sum_by(Family::Workers, "server"), "{{server}} workers"),
            ],
        ),
    ]
}

/// Returns the query of a counter's rate, summed by a label.
fn rate_by(family: Family, label: &str) -> String {
    format!("sum by ({label}) (rate({}[{RATE_INTERVAL}]))", family.sample_name())
}

/// Returns the query of a value, summed by a label.
fn sum_by(family: Family, label: &str) -> String {
    format!("sum by ({label}) ({})", family.sample_name())
}

/// Returns the queries of three quantiles of a histogram, with their legends.
fn quantiles(family: Family) -> Vec<(String, &'static str)> {
    let quantiles = [("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99")];
    let queries = quantiles.map(|(quantile, legend)| {
        let buckets = format!("sum by (le) (rate({}_bucket[{RATE_INTERVAL}]))", family.name());
        (format!("histogram_quantile({quantile}, {buckets})"), legend)
    });
    queries.to_vec()
}

/// Returns every expression of the dashboard, with `rate_interval` in place of Grafana's variable.
pub fn expressions(rate_interval: &str) -> Vec<String> {
    let lines = panels().into_iter().flat_map(|panel| panel.lines);
    lines.map(|(expression, _)| expression.replace(RATE_INTERVAL, rate_interval)).collect()
}

/// Returns the dashboard, for Grafana 9 or later. Its variable `datasource` is the Prometheus that has the metrics.
pub fn dashboard() -> Json {
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    let panels = panels().into_iter().zip(0_u32..).map(|(Panel { title, unit, lines }, index)| {
        let targets = lines.into_iter().zip('A'..).map(|((expression, legend), name)| {
            json!({ "refId": name.to_string(), "expr": expression, "legendFormat": legend, "datasource": source })
        });
        json!({
            "id": index + 1,
            "type": "timeseries",
            "title": title,
            "datasource": source,
            "gridPos": { "h": 8, "w": 12, "x": 12 * (index % 2), "y": 8 * (index / 2) },
            "fieldConfig": { "defaults": { "unit": unit, "min": 0, "custom": { "showPoints": "never" } }, "overrides": [] },
            "options": { "legend": { "displayMode": "list", "placement": "bottom" }, "tooltip": { "mode": "multi" } },
            "targets": targets.collect::<Vec<_>>(),
        })
    });
    let faults = format!("max by (kind, target) ({}) > 0", Family::FaultActive.sample_name());
    json!({
        "uid": "rehearsal",
        "title": "Rehearsal",
        "schemaVersion": 37,
        "editable": true,
        "time": { "from": "now-15m", "to": "now" },
        "refresh": "5s",
        "templating": { "list": [{
            "name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus", "hide": 0,
        }] },
        "annotations": { "list": [{
            "name": "Faults", "enable": true, "iconColor": "red", "datasource": source, "expr": faults,
            "titleFormat": "{{kind}} on {{target}}", "step": "1s",
        }] },
        "panels": panels.collect::<Vec<_>>(),
    })
}
