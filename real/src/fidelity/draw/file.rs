//! The text of a scenario.

use super::{
    DrawnScenario, Host,
    cost::Input,
    faults::DrawnFault,
    measured::MeasuredCosts,
    policies::Tables,
    strata::{Strata, Work},
    work::Load,
};

/// Writes a scenario. The comment at its head has the command that draws it, and how busy the processors are by its cost.
pub(super) fn write(
    seed: u64,
    host: &Host,
    strata: &Strata,
    load: &Load,
    settings: &Tables,
    faults: &[DrawnFault],
) -> DrawnScenario {
    let cores = host.cores;
    let number = strata.index + 1;
    let (kind, requests) = match strata.work {
        Work::Sobel => ("sobel", "images"),
        Work::Dfs => ("dfs", "searches"),
        Work::Backend => ("backend", "queries"),
    };
    let name = format!("{number:02}_{kind}");
    let percent = load.busy * 100.0;
    let rate = load.rate;
    let busy = match (load.lowered_from, &host.measured) {
        (Some(drawn), Some(MeasuredCosts { sha256, .. })) => format!(
            "The rate is {rate} in place of {drawn}, by the calibration with the SHA-256 {sha256}.\n\
             # Share of busy processors by its times"
        ),
        _ => "Estimated share of busy processors".to_owned(),
    };
    let mut text = format!(
        "# Drawn at random, number {number} of `real draw --seed {seed} --cores {cores}` (index {}).\n\
         # {busy}: {percent:.1} % of {cores}.\n\
         name = \"{name}\"\n\
         question = \"Are both worlds alike at {rate} {requests} per second?\"\n\
         duration = \"{}s\"\n",
        strata.index, strata.seconds
    );
    for table in &settings.0 {
        // Workload and load come behind the servers, as in the reference of the format.
        if table.path == "client" {
            text += &workload(kind, load);
            text += &arrivals(rate, strata.is_poisson);
        }
        text += &format!("\n[{}]\n", table.path);
        table.keys.iter().for_each(|key| text += &format!("{key}\n"));
    }
    for fault in faults {
        text += "\n[[fault]]\n";
        fault.keys.iter().for_each(|key| text += &format!("{key}\n"));
    }
    DrawnScenario { name, text: text + "\n", is_lowered: load.lowered_from.is_some() }
}

fn workload(kind: &str, load: &Load) -> String {
    let keys = match &load.input {
        Input::Pictures(sizes) => {
            let sizes: Vec<String> = sizes.iter().map(|size| format!("\"{size}\"")).collect();
            format!("sizes = [{}]\n", sizes.join(", "))
        }
        Input::Graph { nodes, edges } => format!("nodes = {nodes}\nedges = {edges}\n"),
        Input::Data => format!(
            "failure_rate = {:?}\nhang_rate = {:?}\ndelay = {}\n",
            load.failure_rate,
            load.hang_rate,
            super::policies::time(load.held)
        ),
    };
    format!("\n[workload]\nkind = \"{kind}\"\n{keys}")
}

fn arrivals(rate: f64, is_poisson: bool) -> String {
    let arrivals = if is_poisson { "poisson" } else { "constant" };
    format!("\n[load]\nrate = {rate:?}\narrivals = \"{arrivals}\"\n")
}
