//! What a turn of a process with a tokio runtime of its own costs, and what an idle one costs.

use std::time::Duration;

use kernel::{
    app::{App, Call, Host},
    grpc::Services,
    proto::rehearsal::{GetDataRequest, rehearsal_client::RehearsalClient},
    scenario::Scenario,
};
use sim::Plan;

use crate::{millis, rounds::medians_of_turns, run_now};

/// The virtual time of a run.
const TIME: Duration = Duration::from_secs(60);

/// The time between two turns of a process that ticks: a timer of tokio is as exact as a millisecond.
const TICK: Duration = Duration::from_millis(1);

const TURNS: usize = 60;

/// Returns a run of an app of one process, with next to no calls.
fn plan(app: App) -> Plan {
    let text = format!(
        "name = \"turns\"\nduration = \"{}s\"\n[servers]\nreplicas = 1\n[workload]\nkind = \"app\"\n[load]\nrate = 0.1\n",
        TIME.as_secs()
    );
    let scenario = Scenario::parse("turns.toml", &text, &[]).unwrap_or_else(|error| panic!("{error}"));
    let load = |call: Call| async move {
        RehearsalClient::new(call.channel()).get_data(GetDataRequest::default()).await?;
        Ok(())
    };
    Plan { app: Some(app.load(load)), ..Plan::new(scenario, 42) }
}

/// Returns an app that does `begin` in each process, and serves nothing.
fn app(begin: impl Fn() + Clone + Send + Sync + 'static) -> App {
    App::new().service("ticker", move |host: Host| {
        let begin = begin.clone();
        async move {
            begin();
            host.serve(Services::default()).await
        }
    })
}

/// Spawns a task that does nothing at each tick.
#[expect(clippy::disallowed_methods, reason = "code of a user may spawn tasks of tokio")]
fn tick() {
    tokio::spawn(async {
        let mut interval = tokio::time::interval(TICK);
        loop {
            interval.tick().await;
        }
    });
}

/// Compares a minute of ticks, 60,000 turns of a process, to the same minute without them, and that to one with a shared runtime.
pub(crate) fn own_runtime() {
    let [ticking, idle, shared] = [app(tick), app(|| ()), app(|| ()).on_shared_runtime()].map(plan);
    let [mut ticking, mut idle, mut shared] = [&ticking, &idle, &shared].map(|plan| move || drop(run_now(plan)));
    let figures = medians_of_turns(TURNS, [&mut ticking, &mut idle, &mut shared], |[ticking, idle, shared]| {
        [ticking - idle, idle, shared]
    });
    let [ticks, idle, shared] = figures.map(Duration::from_secs_f64);
    let turns = (TIME.as_nanos() / TICK.as_nanos()) as f64;
    println!("a process with a tokio runtime of its own");
    println!("  a turn that a timer wakes              {:8.2} µs", ticks.as_secs_f64() * 1e6 / turns);
    println!("  a minute of an idle process            {:8.2} ms", millis(idle));
    println!("  the same with a shared runtime         {:8.2} ms\n", millis(shared));
}
