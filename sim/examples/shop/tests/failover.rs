//! What the other faults of its servers cost the shop: nothing.

use sim::Scenario;

type Tested = Result<(), Box<dyn std::error::Error>>;

/// Plays the scenario with twenty seeds in the simulation, and once on real processes.
fn holds(name: &str) -> Tested {
    let scenario = Scenario::load(format!("scenarios/{name}.toml").as_ref(), &[])?;
    sim::hold(&scenario, &shop::app(), 0..20)?;
    real::hold(&scenario, env!("CARGO_BIN_EXE_shop-real").as_ref(), 0)?;
    Ok(())
}

#[test]
fn a_freeze_costs_no_order() -> Tested {
    holds("freeze")
}

#[test]
fn a_partition_costs_no_order() -> Tested {
    holds("partition")
}

#[test]
fn a_freeze_costs_no_step_of_a_stream() -> Tested {
    holds("streams")
}

#[test]
fn a_restart_costs_no_order() -> Tested {
    holds("drain")
}
