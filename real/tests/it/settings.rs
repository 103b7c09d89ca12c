//! `real set`: what servers, loads and links change while they run, and what is in the record of it.

use std::{fs, path::PathBuf, process::Stdio};

use kernel::{
    record::{Event, EventRow, Records, RequestRow},
    status::{Code, Outcome},
};
use rustix::process::{Signal, kill_process};

use crate::{
    child::{is_stopped, pid, records, wait_until},
    user::{Foreground, User},
};

/// A load that a user has started for an hour.
struct Load<'a> {
    user: &'a User,
    child: Foreground,
    /// The folder that it leaves.
    out: PathBuf,
}

impl<'a> Load<'a> {
    /// Starts a load, and waits until some of its requests have ended.
    fn start(user: &'a User, words: &[&str]) -> Self {
        let out = user.runtime.path().join("load");
        let all = [&["load", "--sizes", "8x8", "--duration", "1h", "--quiet"], words].concat();
        let mut command = user.command(&all);
        let child = command.arg("--out").arg(&out).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let load = Self { user, child: Foreground(child.expect("it starts")), out };
        wait_until("it is under way", || load.rows().len() >= 3);
        load
    }

    fn id(&self) -> u32 {
        self.child.0.id()
    }

    /// The requests that have ended so far. Their folder has another name until the load ends.
    fn rows(&self) -> Vec<RequestRow> {
        let folders = fs::read_dir(self.user.runtime.path()).into_iter().flatten().filter_map(Result::ok);
        let texts = folders.filter_map(|folder| fs::read_to_string(folder.path().join("requests.jsonl")).ok());
        // The last line may be on its way.
        texts
            .flat_map(|text| text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<_>>())
            .collect()
    }

    fn set(&self, words: &[&str]) -> String {
        self.user.says(&[&["set"], words].concat())
    }

    /// Ends the load as Ctrl-C does, and returns what it has recorded.
    fn end(mut self) -> Records {
        kill_process(pid(self.id()), Signal::INT).expect("it is our child");
        self.child.0.wait().expect("it is our child");
        let mut records = records(&self.out);
        records.requests.sort_by_key(|row| row.id);
        records
    }
}

/// The changes of settings, each with its target if it has one, in order.
fn changes(records: &Records) -> Vec<(&str, Option<&str>)> {
    let of_operator = |row: &&EventRow| row.event == Event::SettingChanged && row.source.as_str() == "operator";
    let rows = records.events.iter().filter(of_operator);
    rows.map(|row| (row.cause.as_deref().unwrap_or_default(), row.target.as_deref())).collect()
}

#[test]
fn servers_a_proxy_and_a_load_take_other_settings_while_they_run() {
    let user = User::new();
    user.says(&["up", "2", "--start-port", "0", "--workers", "8"]);
    let _proxy = user.foreground(&["proxy", "--listen", "0", "--upstream", "server-0", "--id", "web"]);
    let load = Load::start(&user, &["--servers", "web,server-1", "--rate", "20"]);
    let name = format!("load (pid {})", load.id());

    assert_eq!(load.set(&["load.rate=200"]), format!("{name}: load.rate from 20.0 to 200.0\n"));
    let so_far = load.rows().len();
    wait_until("the rate is higher", || load.rows().len() > so_far + 100);
    let said = load.set(&["network.latency=2ms", "servers.queue=9"]);
    let changed = "network.latency from \"0s\" to \"2ms\"\n";
    assert!(said.contains(&format!("web: {changed}")) && said.contains(&format!("{name}: {changed}")), "{said}");
    assert!(["server-0", "server-1"].iter().all(|id| said.contains(&format!("{id}: servers.queue from 64 to 9\n"))));
    let said = load.set(&["network.latency=0s", "--servers", "web"]);
    assert_eq!(said, "web: network.latency from \"2ms\" to \"0s\"\n");
    let said = load.set(&["client.retry.max_attempts=1", "load.rate=0"]);
    assert_eq!(said, format!("{name}: client.retry.max_attempts from 3 to 1\n{name}: load.rate from 200.0 to 0.0\n"));

    let records = load.end();
    let expected = [
        ("load.rate from 20.0 to 200.0", None),
        ("network.latency from \"0s\" to \"2ms\"", Some("web")),
        ("servers.queue from 64 to 9", None),
        ("network.latency from \"0s\" to \"2ms\"", None),
        ("network.latency from \"2ms\" to \"0s\"", Some("web")),
        ("client.retry.max_attempts from 3 to 1", None),
        ("load.rate from 200.0 to 0.0", None),
    ];
    let mut changes = changes(&records);
    let place = |change: &(&str, Option<&str>)| expected.iter().position(|known| known == change);
    // A load looks ten times a second at what has changed, so that what one command has changed elsewhere may come before.
    changes.sort_by_key(place);
    assert_eq!(changes, expected);
    let gaps = records.requests.windows(2).map(|pair| pair[1].intended_us - pair[0].intended_us);
    let (long, short): (Vec<u64>, Vec<u64>) = gaps.partition(|gap| *gap > 25_000);
    // One gap is of both rates.
    let others = long.iter().filter(|gap| gap.abs_diff(50_000) > 1).count()
        + short.iter().filter(|gap| gap.abs_diff(5_000) > 1).count();
    assert!(others <= 1 && long.len() >= 2 && short.len() >= 100, "{others}, {}, {}", long.len(), short.len());
    // Those under way when the load was ended are cancelled.
    let failed = records.requests.iter().filter(|row| !row.status.is_success());
    assert!(failed.map(|row| row.status).all(|status| status == Outcome::Status(Code::Cancelled)));
}

#[test]
fn what_a_running_load_cannot_change_is_refused_before_anything_changes() {
    let user = User::new();
    user.says(&["up", "1", "--start-port", "0"]);
    let refused = |words: &[&str], why: &str| {
        let (code, said) = user.fails(&[&["set"], words].concat());
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(why), "{said}");
    };
    refused(&["servers.queue=5", "load.rate=7"], "no load runs that could change `load.rate`");
    refused(&["network.latency=7ms"], "neither a load nor a proxy runs");
    let load = Load::start(&user, &["--rate", "20"]);
    let name = format!("load (pid {})", load.id());
    refused(&["servers.queue=5", "load.users=7"], &format!("{name}: there are no `users` in [load]; write users = 0"));
    refused(&["servers.queue=5", "client.hedging.max_attempts=3"], "[client.hedging] is off in this scenario");
    refused(&["servers.queue=5", "load.rate=-3"], &name);
    refused(&["load.rate=7", "servers.replicas=2"], "`servers.replicas` cannot change in a run");
    refused(&["network.latency=7ms", "--servers", "server-0"], "its link takes faults, by `real inject`");
    let (code, said) = user.fails(&["set", "load.rate=7", "servers.queue=-1"]);
    assert!(code == Some(3) && said.contains("server-0: "), "{said}");
    kill_process(pid(load.id()), Signal::STOP).expect("it is our child");
    wait_until("it is stopped", || is_stopped(load.id()));
    refused(&["servers.queue=5", "load.rate=7"], &format!("{name}: it is frozen; let it go on first"));
    kill_process(pid(load.id()), Signal::CONT).expect("it is our child");
    assert_eq!(load.set(&["servers.queue=6"]), "server-0: servers.queue from 64 to 6\n", "nothing has changed before");
    assert_eq!(changes(&load.end()), [("servers.queue from 64 to 6", Some("server-0"))]);
    refused(&["load.rate=7"], "no load runs");
}

#[test]
fn users_come_and_go_and_the_changes_of_a_scenario_stand_beside_those_by_hand() {
    let user = User::new();
    user.says(&["up", "1", "--start-port", "0", "--workers", "8"]);
    let scenario = user.runtime.path().join("moving.toml");
    let text = "name = \"moving\"\nduration = \"1h\"\n[workload]\nsizes = [\"8x8\"]\n[load]\nrate = 0\nusers = 2\n\
        think_time = \"20ms\"\n[[change]]\nat = \"200ms\"\nsetting = \"client.retry.max_attempts\"\nto = 2\n";
    fs::write(&scenario, text).expect("there is room");
    let load = Load::start(&user, &["--scenario", scenario.to_str().expect("it is text")]);
    let users = || {
        let rows = load.rows();
        rows.iter().filter_map(|row| row.user).max().map_or(0, |last| last + 1)
    };
    wait_until("the scenario has changed", || {
        let (_, said) = user.fails(&["set", "client.retry.max_attempts=0"]);
        assert!(said.contains("load (pid"), "{said}");
        load.rows().iter().any(|row| row.intended_us > 400_000)
    });
    load.set(&["load.users=5"]);
    wait_until("there are more", || users() == 5);
    load.set(&["load.users=0", "load.rate=10", "client.deadline=5s"]);
    wait_until("the open loop is under way", || load.rows().iter().filter(|row| row.user.is_none()).count() >= 5);
    let records = load.end();
    let texts: Vec<_> = changes(&records).into_iter().map(|(text, _)| text.to_owned()).collect();
    let expected = [
        "client.retry.max_attempts from 3 to 2",
        "load.users from 2 to 5",
        "load.users from 5 to 0",
        "load.rate from 0.0 to 10.0",
        "client.deadline from \"30s\" to \"5s\"",
    ];
    assert_eq!(texts, expected);
    let last_user = records.requests.iter().rposition(|row| row.user.is_some()).expect("there were users");
    let of_open_loop = records.requests[last_user + 1..].iter().filter(|row| row.user.is_none()).count();
    assert!(of_open_loop >= 3, "users have gone, and {of_open_loop} others came");
}
