//! Mechanisms that simulated runs leave out of a calibration, to find out what each of them explains.

use clap::ValueEnum;
use kernel::{
    cli::Failure,
    run_folder::{campaign::LeftOut, sha256},
};
use toml::{Table, Value};

/// A part of a calibration that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Mechanism {
    /// The whole table [machine]: each process has processors of its own, which are always warm.
    Machine,
    /// Processors that get cold: every time is the one on a warm machine.
    Coldness,
    /// Shared processors: each piece of work finds a free one.
    Sharing,
    /// Computations that slow each other.
    Contention,
    /// Times that vary together: each is drawn for itself.
    Variation,
    /// Pauses of the whole machine.
    Pauses,
    /// The work that follows a call away from its path.
    FollowUp,
    /// Late timers.
    Timers,
    /// Times of messages by size: all take as long as the smallest one.
    Sizes,
    /// The time that it takes to set up a connection.
    Connection,
    /// The time until the connections of a killed process break.
    Exit,
}

/// The mechanisms of a command line: one of them, or all that the calibration has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    All,
    One(Mechanism),
}

/// A calibration without a mechanism.
pub(super) struct Without {
    /// The mechanism's entry in the manifest.
    pub(super) facts: LeftOut,
    /// The text of the calibration.
    pub(super) text: String,
}

/// More processors than any run has pieces of work at once.
const UNSHARED_CORES: i64 = 1_024;

impl Mechanism {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Machine => "a machine that all processes share",
            Self::Coldness => "processors that get cold",
            Self::Sharing => "processors that work waits for",
            Self::Contention => "computations that slow each other",
            Self::Variation => "times that vary together",
            Self::Pauses => "pauses of the whole machine",
            Self::FollowUp => "work that follows a call",
            Self::Timers => "late timers",
            Self::Sizes => "times of messages by size",
            Self::Connection => "time to set up a connection",
            Self::Exit => "time until the connections of a killed process break",
        }
    }

    /// Removes the mechanism from `calibration`; changes nothing if it does not have it.
    fn leave_out(self, calibration: &mut Table) {
        match self {
            Self::Machine => {
                calibration.remove("machine");
            }
            Self::Coldness => warm(calibration.get_mut("machine")),
            Self::Sharing => set(calibration, "cores", UNSHARED_CORES.into()),
            Self::Contention => remove_from_services(calibration, "contention"),
            Self::Variation => remove(calibration, "machine", "variation"),
            Self::Pauses => remove(calibration, "machine", "pauses"),
            Self::FollowUp => {
                set(calibration, "follow_up_us", 0.0.into());
                remove_from_services(calibration, "follow_up_us");
            }
            Self::Timers => {
                calibration.remove("timer");
                punctual(calibration);
            }
            Self::Sizes => {
                keep_smallest(calibration);
                if let Some(machine) = table(calibration, "machine") {
                    keep_smallest(machine);
                }
            }
            Self::Connection => remove(calibration, "link", "connect_us"),
            Self::Exit => remove(calibration, "process", "exit_us"),
        }
    }
}

impl Choice {
    /// Reads the choice of a command line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        Mechanism::from_str(text, false).map(Self::One).map_err(|_| {
            let known: Vec<_> = Mechanism::value_variants().iter().map(|mechanism| mechanism.name()).collect();
            format!("choose all, or some of {}", known.join(", "))
        })
    }
}

/// Returns a calibration without each of the `chosen` mechanisms, in the order of their declaration. Fails if one was chosen by its name
/// that the calibration does not have: its runs would equal the others.
pub(super) fn calibrations(text: &str, chosen: &[Choice]) -> Result<Vec<Without>, Failure> {
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let whole: Table = text
        .parse()
        .map_err(|error| Failure::wrong_input(format!("nothing can be left out of the calibration: {error}")))?;
    let mut calibrations = Vec::new();
    for &mechanism in Mechanism::value_variants() {
        let by_name = chosen.contains(&Choice::One(mechanism));
        if !by_name && !chosen.contains(&Choice::All) {
            continue;
        }
        let mut without = whole.clone();
        mechanism.leave_out(&mut without);
        let name = mechanism.name();
        if without == whole {
            if by_name {
                let meaning = mechanism.meaning();
                return Err(Failure::wrong_input(format!(
                    "--leave-out {name}: the calibration has no {meaning}; leave this out of the list, or choose `all` for what it has"
                )));
            }
            continue;
        }
        let text = without.to_string();
        let facts =
            LeftOut { sha256: sha256(text.as_bytes()), meaning: mechanism.meaning().to_owned(), mechanism: name };
        calibrations.push(Without { facts, text });
    }
    Ok(calibrations)
}

fn table<'a>(parent: &'a mut Table, key: &str) -> Option<&'a mut Table> {
    parent.get_mut(key)?.as_table_mut()
}

fn remove(calibration: &mut Table, parent: &str, key: &str) {
    if let Some(parent) = table(calibration, parent) {
        parent.remove(key);
    }
}

/// Sets a key of the machine, if there is one.
fn set(calibration: &mut Table, key: &str, value: Value) {
    if let Some(machine) = table(calibration, "machine") {
        machine.insert(key.to_owned(), value);
    }
}

/// Replaces every time on a cold machine by that on a warm one, in all tables below.
fn warm(value: Option<&mut Value>) {
    match value {
        Some(Value::Table(pair)) if pair.contains_key("warm_us") => {
            if let Some(warm) = pair.get("warm_us").cloned() {
                pair.insert("cold_us".to_owned(), warm);
            }
        }
        Some(Value::Table(parent)) => parent.iter_mut().for_each(|(_, child)| warm(Some(child))),
        Some(Value::Array(children)) => children.iter_mut().for_each(|child| warm(Some(child))),
        _ => {}
    }
}

/// Lets every timer of the machine wake its task at its time.
fn punctual(calibration: &mut Table) {
    let Some(timer) = table(calibration, "machine").and_then(|machine| table(machine, "timer")) else { return };
    let never_late = Value::Array(vec![Value::Array(vec![0.0.into(), 0.0.into()])]);
    for key in ["warm_us", "cold_us"] {
        timer.insert(key.to_owned(), never_late.clone());
    }
}

/// Removes a key from the times of all computations on the machine.
fn remove_from_services(calibration: &mut Table, key: &str) {
    let services = table(calibration, "machine").and_then(|machine| machine.get_mut("service_time")?.as_array_mut());
    for service in services.into_iter().flatten().filter_map(Value::as_table_mut) {
        service.remove(key);
    }
}

/// Keeps the smallest message of each workload.
fn keep_smallest(parent: &mut Table) {
    let Some(Value::Array(messages)) = parent.get_mut("message") else { return };
    messages.sort_by_key(workload_and_bytes);
    messages.dedup_by_key(|message| workload_and_bytes(message).0);
}

fn workload_and_bytes(message: &Value) -> (String, i64) {
    let workload = message.get("workload").and_then(Value::as_str).unwrap_or_default().to_owned();
    (workload, message.get("bytes").and_then(Value::as_integer).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALIBRATION: &str = "\
        name = 'here'\n\
        link = { one_way_us = [[0.0, 40.0]], connect_us = [[0.0, 90.0]] }\n\
        process = { exec_to_listen_us = [[0.0, 900.0]] }\n\
        [machine]\ncores = 2\nfollow_up_us = 60.0\n\
        [[machine.variation]]\nshare = 0.2\ntime_us = 2000.0\n\
        [machine.timer]\nwarm_us = [[0.0, 60.0]]\ncold_us = [[0.0, 200.0]]\n\
        [[machine.message]]\nbytes = 4096\nto_server = { warm_us = [[0.0, 80.0]], cold_us = [[0.0, 300.0]] }\n\
        [[machine.message]]\nbytes = 256\nto_server = { warm_us = [[0.0, 70.0]], cold_us = [[0.0, 290.0]] }\n\
        [[machine.message]]\nworkload = 'dfs'\nbytes = 9\nto_server = { warm_us = [[0.0, 7.0]], cold_us = [[0.0, 9.0]] }\n\
        [[machine.service_time]]\nworkload = 'dfs'\nunits = 9\nfollow_up_us = 3.0\ncontention = 0.3\n";

    fn without(mechanism: Mechanism) -> Table {
        let [only] = calibrations(CALIBRATION, &[Choice::One(mechanism)]).unwrap().try_into().ok().unwrap();
        assert_eq!(only.facts.sha256, sha256(only.text.as_bytes()));
        only.text.parse().unwrap()
    }

    #[test]
    fn each_mechanism_is_left_out_alone() {
        let whole: Table = CALIBRATION.parse().unwrap();
        let machine = |mechanism| without(mechanism)["machine"].as_table().unwrap().clone();
        assert!(!without(Mechanism::Machine).contains_key("machine"));
        assert_eq!(machine(Mechanism::Sharing)["cores"].as_integer(), Some(UNSHARED_CORES));
        assert_eq!(machine(Mechanism::FollowUp)["follow_up_us"].as_float(), Some(0.0));
        assert_eq!(machine(Mechanism::FollowUp)["service_time"][0].get("follow_up_us"), None);
        assert_eq!(machine(Mechanism::FollowUp)["service_time"][0]["contention"].as_float(), Some(0.3));
        assert_eq!(machine(Mechanism::Contention)["service_time"][0].get("contention"), None);
        assert_eq!(machine(Mechanism::Contention)["service_time"][0]["follow_up_us"].as_float(), Some(3.0));
        assert!(!machine(Mechanism::Variation).contains_key("variation"));
        assert_eq!(machine(Mechanism::Timers)["timer"]["cold_us"].to_string(), "[[0.0, 0.0]]");
        assert!(!without(Mechanism::Connection)["link"].as_table().unwrap().contains_key("connect_us"));

        let warm = machine(Mechanism::Coldness);
        assert_eq!(warm["timer"]["cold_us"], whole["machine"]["timer"]["warm_us"]);
        assert_eq!(warm["message"][0]["to_server"]["cold_us"].to_string(), "[[0.0, 80.0]]");
        assert_eq!(warm["cores"], whole["machine"]["cores"]);

        let sizes = machine(Mechanism::Sizes)["message"].as_array().unwrap().clone();
        let bytes: Vec<_> = sizes.iter().map(|message| message["bytes"].as_integer().unwrap()).collect();
        assert_eq!(bytes, [256, 9]);
    }

    #[test]
    fn all_are_those_that_the_calibration_has() {
        let names = |chosen: &[Choice]| {
            let calibrations = calibrations(CALIBRATION, chosen).unwrap();
            calibrations.iter().map(|without| without.facts.mechanism.clone()).collect::<Vec<_>>()
        };
        let all =
            ["machine", "coldness", "sharing", "contention", "variation", "follow-up", "timers", "sizes", "connection"];
        assert_eq!(names(&[Choice::All]), all);
        assert_eq!(names(&[Choice::One(Mechanism::Timers), Choice::One(Mechanism::Machine)]), ["machine", "timers"]);
        assert_eq!(names(&[]), [""; 0]);
    }

    #[test]
    fn a_mechanism_that_is_not_there_is_refused_by_its_name() {
        let refused = |chosen| calibrations(CALIBRATION, &[Choice::One(chosen)]).err().unwrap().message;
        assert!(
            refused(Mechanism::Pauses)
                .contains("--leave-out pauses: the calibration has no pauses of the whole machine")
        );
        assert!(refused(Mechanism::Exit).contains("--leave-out exit"));
    }

    #[test]
    fn choices_are_words() {
        assert_eq!(Choice::parse("all"), Ok(Choice::All));
        assert_eq!(Choice::parse("follow-up"), Ok(Choice::One(Mechanism::FollowUp)));
        assert!(Choice::parse("luck").unwrap_err().starts_with("choose all, or some of machine, coldness, "));
    }
}
