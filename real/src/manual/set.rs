//! `real set`: gives settings of running servers and loads other values.

use clap::Args;
use kernel::{
    cli::{Exit, Failure},
    scenario::{Scenario, changeable},
};
use tokio::runtime::Runtime;

use super::{
    control::{ControlClient, ControlRequest},
    registry::{EntryKind, Registry, RegistryEntry},
    settings_log, target,
};
use crate::{clock::Clock, host::Host, timer::Timer};

/// Options of `real set`.
#[derive(Debug, Clone, Args)]
pub struct SetArgs {
    /// A setting that can change while servers and loads run, and its value, such as `servers.queue=16`.
    #[arg(required = true, value_name = "SETTING=VALUE")]
    settings: Vec<String>,

    /// The ids or ports of the servers whose settings change [default: all that run]
    #[arg(long, value_delimiter = ',', value_name = "TARGET")]
    servers: Vec<String>,
}

/// A setting with its value as TOML.
struct Setting<'a> {
    key: &'a str,
    to: String,
}

/// Changes the settings in their order: those of servers when they have answered, and those of clients in every load that runs.
pub fn run(args: &SetArgs) -> Result<Exit, Failure> {
    let settings: Vec<Setting<'_>> = args.settings.iter().map(|text| read(text)).collect::<Result<_, _>>()?;
    let registry = Registry::for_user()?;
    let running = registry.entries()?;
    let servers = if args.servers.is_empty() {
        running.iter().filter(|entry| entry.kind == EntryKind::Server).cloned().collect()
    } else {
        target::find_all(&running, &args.servers)?
    };
    Runtime::new().map_err(Failure::run_failed)?.block_on(async {
        for setting in &settings {
            match setting.key.split('.').next() {
                Some("servers") => set_servers(&registry, &servers, setting).await?,
                _ => set_loads(&registry, setting)?,
            }
        }
        Ok(Exit::Passed)
    })
}

/// Reads `KEY=VALUE`. The value is TOML, or else a string without its quotes.
fn read(text: &str) -> Result<Setting<'_>, Failure> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(Failure::wrong_input(format!("`{text}` is no setting; write, for example: servers.queue=16")));
    };
    let (key, value) = (key.trim(), value.trim());
    match key.split('.').next() {
        Some("network") => {
            let remedy = "links of running servers take faults: `real inject delay`, `bandwidth` and others";
            return Err(Failure::wrong_input(format!("`{key}` is of the links of a scenario; {remedy}")));
        }
        Some("load") => {
            let remedy = "start another `real load` beside it, or play a scenario with [[change]]";
            return Err(Failure::wrong_input(format!("a load that runs has its schedule from its start; {remedy}")));
        }
        _ => {}
    }
    if !changeable().any(|setting| setting == key) {
        let plain = Scenario::parse("set", "name = \"set\"\nduration = \"1s\"\nload = { rate = 1 }\n", &[]);
        let refused = plain.map_err(Failure::wrong_input)?.with_setting(key, value);
        return Err(Failure::wrong_input(refused.err().unwrap_or_default()));
    }
    let is_toml = format!("value = {value}").parse::<toml::Table>().is_ok();
    let to = if is_toml { value.to_owned() } else { toml::Value::String(value.to_owned()).to_string() };
    Ok(Setting { key, to })
}

/// Changes a setting of every server.
async fn set_servers(registry: &Registry, servers: &[RegistryEntry], setting: &Setting<'_>) -> Result<(), Failure> {
    if servers.is_empty() {
        return Err(Failure::wrong_input("no server runs; start some with `real up 2`"));
    }
    let timer = Timer::start().map_err(Failure::run_failed)?;
    let world = Host::new(Clock::MACHINE, timer).shared();
    for server in servers {
        let request = ControlRequest::Set { setting: setting.key.to_owned(), to: setting.to.clone() };
        let failed = |error| Failure::run_failed(format!("{}: {error}", server.id));
        let mut client = ControlClient::connect(&world, &registry.socket(&server.id)).await.map_err(failed)?;
        let changed = client.send(&world, &request).await.map_err(failed)?;
        println!("{}: {}", server.id, changed.concat());
    }
    Ok(())
}

/// Lets every load that runs change a setting of its client.
fn set_loads(registry: &Registry, setting: &Setting<'_>) -> Result<(), Failure> {
    settings_log::add(registry.folder(), setting.key, &setting.to).map_err(Failure::run_failed)?;
    println!("{} = {} for the loads that run", setting.key, setting.to);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_toml_or_a_string_without_its_quotes() {
        let to = |text| read(text).map(|setting| setting.to).map_err(|failure| failure.message);
        assert_eq!(to("servers.queue=16").as_deref(), Ok("16"));
        assert_eq!(to("client.deadline=1s").as_deref(), Ok("\"1s\""));
        assert_eq!(to("client.retry.jitter = \"full\"").as_deref(), Ok("\"full\""));
    }

    #[test]
    fn what_cannot_be_set_is_refused_with_a_remedy() {
        let refused = |text| read(text).map(drop).unwrap_err().message;
        assert!(refused("servers.queue").contains("write, for example"));
        assert!(refused("network.latency=1ms").contains("real inject delay"));
        assert!(refused("load.rate=5").contains("start another `real load`"));
        assert!(refused("servers.replicas=5").contains("cannot change in a run"));
        assert!(refused("client.retry.max_attemps=5").contains("did you mean `client.retry.max_attempts`?"));
    }
}
