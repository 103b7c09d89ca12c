//! How fast real processes are, and how exact their times, as ratios to baselines measured in the same run.
//!
//! `cargo bench -p real`, or a part: `cargo bench -p real -- client`. A figure and its baseline take turns, and the
//! ratio is the median over the turns, so that a busy machine slows both alike. Times in absolute units are of this
//! machine as it was; the load average printed first says how busy that is.

#[path = "../../sim/benches/simulation/all_policies.rs"]
mod all_policies;
#[path = "processes/calls.rs"]
mod calls;
#[path = "processes/client.rs"]
mod client;
#[path = "processes/delay.rs"]
mod delay;
#[path = "processes/environment.rs"]
mod environment;
#[cfg(feature = "events")]
#[path = "processes/events.rs"]
mod events;
#[path = "processes/link.rs"]
mod link;
#[path = "processes/mechanisms.rs"]
mod mechanisms;
#[path = "processes/metrics.rs"]
mod metrics;
#[path = "processes/pace.rs"]
mod pace;
#[path = "processes/python.rs"]
mod python;
#[path = "processes/server.rs"]
mod server;
#[path = "../../sim/benches/simulation/turns.rs"]
mod turns;

/// A part by its name; all without one.
fn main() {
    let parts: &[(&str, fn())] = &[
        ("link", link::idle),
        ("delay", delay::accuracy),
        ("client", client::cost),
        ("python", python::compare),
        ("pace", pace::accuracy),
        ("mechanisms", mechanisms::print),
        ("metrics", metrics::cost),
        #[cfg(feature = "events")]
        ("events", events::cost),
    ];
    let wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let host = real::facts::host();
    println!("{} cores, load averages {:?}\n", host.cores, host.load_average.unwrap_or_default());
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            part();
        }
    }
}
