use sim::Scenario;

#[test]
fn a_crash_costs_no_order() -> Result<(), Box<dyn std::error::Error>> {
    let scenario = Scenario::load("scenarios/crash.toml".as_ref(), &[])?;
    sim::hold(&scenario, &shop::app(), 0..20)?;
    Ok(real::hold(&scenario, env!("CARGO_BIN_EXE_shop-real").as_ref(), 0)?)
}
