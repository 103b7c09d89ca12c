fn main() {
    let path = std::env::args().nth(1).expect("path");
    let scenario = kernel::scenario::Scenario::load(path.as_ref(), &[]).unwrap_or_else(|e| panic!("{e}"));
    let plan = sim::Plan { scenario, seed: 42, calibration: Default::default() };
    let played = sim::play(&plan, &Default::default()).unwrap();
    println!(
        "{} steps {} instants {} requests {} attempts {} events",
        played.steps,
        played.instants,
        played.records.requests.len(),
        played.records.attempts.len(),
        played.records.events.len()
    );
    for e in &played.records.events {
        if !matches!(e.event, kernel::record::Event::Pick | kernel::record::Event::Finished) {
            println!("{}", serde_json::to_string(e).unwrap());
        }
    }
    let run = kernel::measure::Run {
        duration: plan.scenario.duration,
        servers: plan.scenario.servers.replicas,
        requests: &played.records.requests,
        attempts: &played.records.attempts,
        events: &played.records.events,
    };
    let s = kernel::measure::Summary::of(
        kernel::measure::Label { scenario: &plan.scenario.name, seed: 42, world: "sim" },
        &run,
        &plan.scenario.expectations,
    );
    println!("{}", s.render());
}
