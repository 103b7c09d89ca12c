//! `real set`: gives settings of running servers, loads and links other values.
//!
//! Everything is checked before anything is sent: by the servers and proxies themselves, and for loads by the settings that they have.

use std::{path::Path, time::Duration};

use clap::Args;
use kernel::{
    cli::{Exit, Failure, print},
    scenario::{Scenario, changeable},
    visible::Visible,
    world::SharedWorld,
};
use tokio::runtime::Runtime;

use super::{
    control::{ControlClient, ControlRequest},
    identity::ProcessState,
    registry::{EntryKind, Registry, RegistryEntry},
    running_load::RunningLoad,
    settings_log::{self, SettingNews},
    target,
};
use crate::{clock::Clock, host::Host, timer::Timer};

/// Time that a load may take to have what has changed.
const TAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time between two looks at the settings of a load.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Options of `real set`.
#[derive(Debug, Clone, Args)]
pub struct SetArgs {
    /// A setting that can change while servers and loads run, and its value, such as `servers.queue=16` or `load.rate=20`.
    #[arg(required = true, value_name = "SETTING=VALUE")]
    settings: Vec<String>,

    /// The ids or ports of the servers whose settings change, and of the proxies whose links do [default: all that run, and for links the loads, too]
    #[arg(long, value_delimiter = ',', value_name = "TARGET")]
    servers: Vec<String>,
}

/// A setting with its value as TOML.
#[derive(Debug, Clone, PartialEq)]
struct Setting {
    key: String,
    to: String,
}

impl Setting {
    /// Reads `KEY=VALUE`. The value is TOML, or else a string without its quotes.
    fn read(text: &str) -> Result<Self, Failure> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(Failure::wrong_input(format!("`{text}` is no setting; write, for example: servers.queue=16")));
        };
        let key = key.trim();
        let value = value.trim();
        if !changeable().any(|setting| setting == key) {
            let plain = Scenario::parse("set", "name = \"set\"\nduration = \"1s\"\nload = { rate = 1 }\n", &[]);
            let refused = plain.map_err(Failure::wrong_input)?.with_setting(key, value);
            return Err(Failure::wrong_input(refused.err().unwrap_or_default()));
        }
        let is_toml = format!("value = {value}").parse::<toml::Table>().is_ok();
        let to = if is_toml { value.to_owned() } else { toml::Value::String(value.to_owned()).to_string() };
        Ok(Self { key: key.to_owned(), to })
    }

    /// True if the setting is of this table, or of one in it.
    fn is_of(&self, table: &str) -> bool {
        self.key.split('.').next() == Some(table)
    }
}

/// Changes the settings: those of servers, of the links of proxies, and of every load that runs.
pub fn run(args: &SetArgs) -> Result<Exit, Failure> {
    let settings: Vec<Setting> = args.settings.iter().map(|text| Setting::read(text)).collect::<Result<_, _>>()?;
    let registry = Registry::for_user()?;
    let running = registry.entries()?;
    let named = if args.servers.is_empty() { None } else { Some(target::find_all(&running, &args.servers)?) };
    let loads = RunningLoad::all(registry.folder()).map_err(Failure::run_failed)?;
    let plan = Plan::new(&settings, &running, named.as_deref(), loads)?;
    Runtime::new().map_err(Failure::run_failed)?.block_on(async {
        let timer = Timer::start().map_err(Failure::run_failed)?;
        let world = Host::new(Clock::MACHINE, timer).shared();
        for target in &plan.processes {
            target.send(&registry, &world, true).await?;
        }
        plan.change_processes(&registry, &world).await?;
        plan.change_loads(registry.folder(), &world).await?;
        Ok(Exit::Passed)
    })
}

/// The changes of settings, by process. Those of the loads are checked.
#[derive(Debug)]
struct Plan {
    processes: Vec<ProcessPlan>,
    /// The settings of loads, in order.
    of_loads: Vec<Setting>,
    loads: Vec<LoadPlan>,
}

/// The changes in a server or a proxy.
#[derive(Debug)]
struct ProcessPlan {
    entry: RegistryEntry,
    settings: Vec<Setting>,
}

/// The changes in a load.
#[derive(Debug)]
struct LoadPlan {
    load: RunningLoad,
    /// The settings that it has in the end.
    after: Scenario,
    /// The changes in words.
    changes: Vec<String>,
}

impl Plan {
    /// The plan for `settings`: of the `named` servers and proxies, or of all that run, and of `loads`.
    fn new(
        settings: &[Setting],
        running: &[RegistryEntry],
        named: Option<&[RegistryEntry]>,
        loads: Vec<RunningLoad>,
    ) -> Result<Self, Failure> {
        let mut processes = Vec::new();
        for entry in named.unwrap_or(running) {
            let table = if entry.kind == EntryKind::Server { "servers" } else { "network" };
            let settings: Vec<_> = settings.iter().filter(|setting| setting.is_of(table)).cloned().collect();
            match (settings.is_empty(), named) {
                (false, _) => processes.push(ProcessPlan { entry: entry.clone(), settings }),
                (true, Some(_)) => return Err(nothing_to_change(entry)),
                (true, None) => {}
            }
        }
        // Who names proxies means their links alone.
        let is_of_loads = |setting: &&Setting| match named {
            Some(_) => setting.is_of("load") || setting.is_of("client"),
            None => !setting.is_of("servers"),
        };
        let of_loads: Vec<Setting> = settings.iter().filter(is_of_loads).cloned().collect();
        for setting in settings {
            let is_of_process = processes.iter().any(|target| target.settings.contains(setting));
            if !is_of_process && (loads.is_empty() || !of_loads.contains(setting)) {
                return Err(nothing_runs(setting));
            }
        }
        let loads: Result<_, Failure> = match of_loads.is_empty() {
            true => Ok(Vec::new()),
            false => loads.into_iter().map(|load| LoadPlan::new(load, &of_loads)).collect(),
        };
        Ok(Self { processes, of_loads, loads: loads? })
    }

    /// Changes the servers and proxies, which have checked it, and lets the loads know for their records.
    async fn change_processes(&self, registry: &Registry, world: &SharedWorld) -> Result<(), Failure> {
        let mut changed: Vec<(String, Vec<String>)> = Vec::new();
        for target in &self.processes {
            for description in target.send(registry, world, false).await? {
                print(&format!("{}: {description}\n", target.entry.id));
                match changed.iter_mut().find(|(known, _)| *known == description) {
                    Some((_, targets)) => targets.push(target.entry.id.clone()),
                    None => changed.push((description, vec![target.entry.id.clone()])),
                }
            }
        }
        for (description, targets) in changed {
            let news = SettingNews::Changed { targets, description };
            settings_log::add(registry.folder(), news).map_err(Failure::run_failed)?;
        }
        Ok(())
    }

    /// Changes the loads, and waits until they have changed.
    async fn change_loads(&self, folder: &Path, world: &SharedWorld) -> Result<(), Failure> {
        if self.loads.is_empty() {
            return Ok(());
        }
        for Setting { key, to } in &self.of_loads {
            let news = SettingNews::Change { setting: key.clone(), to: to.clone() };
            settings_log::add(folder, news).map_err(Failure::run_failed)?;
        }
        let give_up = world.now() + TAKE_TIMEOUT;
        for LoadPlan { load, after, changes } in &self.loads {
            // One that has ended meanwhile has nothing to change any more.
            while load.again(folder).is_some_and(|load| !load.has(after)) {
                if world.now() > give_up {
                    let what = "has not changed yet; another `real set` at the same time may have changed it, too";
                    return Err(Failure::run_failed(format!("{} {what}: {}", load.name(), changes.join(", "))));
                }
                world.sleep_until(world.now() + LOOK_INTERVAL).await;
            }
            changes.iter().for_each(|change| print(&format!("{}: {change}\n", load.name())));
        }
        Ok(())
    }
}

impl ProcessPlan {
    /// Sends the settings. Returns the changes in words.
    async fn send(&self, registry: &Registry, world: &SharedWorld, only_check: bool) -> Result<Vec<String>, Failure> {
        let settings = self.settings.iter().map(|Setting { key, to }| (key.clone(), to.clone())).collect();
        let request = ControlRequest::Set { settings, only_check };
        let id = &self.entry.id;
        let failed = |error| Failure::run_failed(format!("{id}: {error}"));
        let mut client = ControlClient::connect(world, &registry.socket(id)).await.map_err(failed)?;
        client.send(world, &request).await.map_err(failed)
    }
}

impl LoadPlan {
    /// The plan for `load`. Fails if it cannot have one of the settings.
    fn new(load: RunningLoad, settings: &[Setting]) -> Result<Self, Failure> {
        let failed = |reason: String| Failure::wrong_input(format!("{}: {reason}", load.name()));
        if load.process.state() == Some(ProcessState::Frozen) {
            return Err(failed(format!("it is frozen; let it go on first, with `kill -CONT {}`", load.process.pid)));
        }
        let mut after = load.scenario().map_err(failed)?;
        let mut changes = Vec::new();
        for Setting { key, to } in settings {
            let (next, change) = after.with_setting(key, to).map_err(failed)?;
            changes.push(change.description());
            after = next;
        }
        Ok(Self { load, after, changes })
    }
}

/// The failure about a process that was named, and has none of the settings.
fn nothing_to_change(entry: &RegistryEntry) -> Failure {
    let id = entry.id.visible();
    Failure::wrong_input(match entry.kind {
        EntryKind::Server => {
            let remedy = "its link takes faults, by `real inject`; [network] is of the links of loads and proxies";
            format!("{id} is a server, and none of these settings is of [servers]; {remedy}")
        }
        EntryKind::Proxy { .. } => {
            format!("{id} is a proxy, and none of these settings is of [network]; name servers, or leave it out")
        }
    })
}

/// The failure about a setting that nothing has which runs.
fn nothing_runs(setting: &Setting) -> Failure {
    let key = &setting.key;
    Failure::wrong_input(if setting.is_of("servers") {
        format!("no server runs that could change `{key}`; start some with `real up 2`")
    } else if setting.is_of("network") {
        format!("neither a load nor a proxy runs, whose links could change `{key}`; start `real load` or `real proxy`")
    } else {
        format!("no load runs that could change `{key}`; start one with `real load`")
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::{super::identity::ProcessIdentity, *};

    #[test]
    fn a_value_is_toml_or_a_string_without_its_quotes() {
        let to = |text| Setting::read(text).map(|setting| setting.to).map_err(|failure| failure.message);
        assert_eq!(to("servers.queue=16").as_deref(), Ok("16"));
        assert_eq!(to("client.deadline=1s").as_deref(), Ok("\"1s\""));
        assert_eq!(to("client.retry.jitter = \"full\"").as_deref(), Ok("\"full\""));
        assert_eq!(to("network.latency=5ms").as_deref(), Ok("\"5ms\""));
    }

    #[test]
    fn what_cannot_be_set_is_refused_with_a_remedy() {
        let refused = |text| Setting::read(text).map(drop).unwrap_err().message;
        assert!(refused("servers.queue").contains("write, for example"));
        assert!(refused("servers.replicas=5").contains("cannot change in a run"));
        assert!(refused("client.retry.max_attemps=5").contains("did you mean `client.retry.max_attempts`?"));
    }

    fn entry(id: &str, kind: EntryKind) -> RegistryEntry {
        let process = ProcessIdentity::for_pid(std::process::id()).expect("this lives");
        let address = (Ipv4Addr::LOCALHOST, 1).into();
        RegistryEntry { id: id.to_owned(), kind, address, process, metrics: None }
    }

    /// The names of the processes that change, with their settings, or the message.
    fn plan(settings: &[&str], named: Option<&[&str]>) -> Result<Vec<(String, usize)>, String> {
        let settings: Vec<_> = settings.iter().map(|text| Setting::read(text).unwrap()).collect();
        let running = [entry("a", EntryKind::Server), entry("p", EntryKind::Proxy { upstream: "a".to_owned() })];
        let named: Option<Vec<_>> =
            named.map(|names| running.iter().filter(|entry| names.contains(&&*entry.id)).cloned().collect());
        let plan = Plan::new(&settings, &running, named.as_deref(), Vec::new()).map_err(|failure| failure.message)?;
        Ok(plan.processes.into_iter().map(|target| (target.entry.id, target.settings.len())).collect())
    }

    #[test]
    fn settings_go_to_what_has_them() {
        let ids = |changes: &[(&str, usize)]| Ok(changes.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect());
        assert_eq!(plan(&["servers.queue=1", "servers.workers=2"], None), ids(&[("a", 2)]));
        assert_eq!(plan(&["network.latency=1ms", "servers.queue=1"], None), ids(&[("a", 1), ("p", 1)]));
        assert_eq!(plan(&["network.latency=1ms"], Some(&["p"])), ids(&[("p", 1)]));
        assert!(plan(&["network.latency=1ms"], Some(&["a"])).is_err_and(|text| text.contains("real inject")));
        assert!(plan(&["servers.queue=1"], Some(&["p"])).is_err_and(|text| text.contains("name servers")));
        assert!(plan(&["load.rate=1"], None).is_err_and(|text| text.contains("start one with `real load`")));
        assert!(plan(&["servers.queue=1", "client.deadline=1s"], None).is_err_and(|text| text.contains("no load")));
    }
}
