//! The reader of commands that experiments run as processes.

use super::super::node::Node;

/// The meaning of a command line.
#[derive(Debug, PartialEq)]
pub(super) enum Asked {
    /// The verb of the table, on the servers of these names; none for all.
    Fault(&'static str, Vec<String>),
    /// Frozen servers of these names continue.
    Continue(Vec<String>),
    /// `real inject` with these words behind it.
    Inject(Vec<String>),
}

const KILL: &str = "process kill -KILL";
const TERM: &str = "process kill -TERM";
const STOP: &str = "process kill -STOP";

/// Returns the words of a process provider.
pub(super) fn words(provider: &Node) -> Vec<String> {
    let mut words: Vec<String> =
        provider.str("path").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    match provider.get("arguments") {
        Some(list) if !list.items().is_empty() => {
            words.extend(list.items().iter().filter_map(|word| word.as_str().map(str::to_owned)));
        }
        Some(map) if !map.entries().is_empty() => {
            for (key, value) in map.entries() {
                words.push(key.clone());
                words.extend(value.as_str().map(str::to_owned));
            }
        }
        Some(text) => words.extend(text.as_str().unwrap_or_default().split_whitespace().map(str::to_owned)),
        None => {}
    }
    words
}

/// Returns what a command line does; `None` if it is not known.
pub(super) fn asked(words: &[String]) -> Option<Asked> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (program, rest) = words.split_first()?;
    let program = program.rsplit('/').next()?;
    let names =
        |words: &[&str]| words.iter().filter(|word| !word.starts_with('-')).map(|word| (*word).to_owned()).collect();
    match (program, rest) {
        ("sudo", rest) => asked(&rest.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()),
        ("real", ["inject", rest @ ..]) => Some(Asked::Inject(rest.iter().map(|word| (*word).to_owned()).collect())),
        ("kill" | "pkill" | "killall", rest) => signal(rest, names),
        ("docker" | "podman", ["kill", rest @ ..]) => Some(Asked::Fault(KILL, names(rest))),
        ("docker" | "podman", ["stop", rest @ ..]) => Some(Asked::Fault(TERM, names(rest))),
        ("docker" | "podman", ["pause", rest @ ..]) => Some(Asked::Fault(STOP, names(rest))),
        ("docker" | "podman", ["unpause", rest @ ..]) => Some(Asked::Continue(names(rest))),
        ("kubectl", ["delete", "pod" | "pods", rest @ ..]) => {
            let is_forced = rest.iter().any(|word| *word == "--force" || *word == "--grace-period=0");
            let mut rest = rest.to_vec();
            // A namespace is no pod.
            while let Some(flag) = rest.iter().position(|word| matches!(*word, "-n" | "--namespace")) {
                rest.drain(flag..rest.len().min(flag + 2));
            }
            Some(Asked::Fault(if is_forced { KILL } else { TERM }, names(&rest)))
        }
        _ => None,
    }
}

fn signal(words: &[&str], names: impl Fn(&[&str]) -> Vec<String>) -> Option<Asked> {
    let mut signal = "TERM".to_owned();
    let mut rest = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.strip_prefix('-') {
            Some("s" | "-signal") => signal = (*words.next()?).to_owned(),
            Some("f" | "x" | "-full" | "-exact") => {}
            Some(name) => signal = name.trim_start_matches("-signal=").to_owned(),
            None => rest.push(*word),
        }
    }
    match signal.trim_start_matches("SIG") {
        "9" | "KILL" => Some(Asked::Fault(KILL, names(&rest))),
        "15" | "TERM" => Some(Asked::Fault(TERM, names(&rest))),
        "19" | "STOP" => Some(Asked::Fault(STOP, names(&rest))),
        "18" | "CONT" => Some(Asked::Continue(names(&rest))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_read() {
        let asked = |line: &str| super::asked(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let fault =
            |verb, names: &[&str]| Some(Asked::Fault(verb, names.iter().map(|name| (*name).to_owned()).collect()));
        assert_eq!(asked("pkill -9 -f server-1"), fault(KILL, &["server-1"]));
        assert_eq!(asked("sudo /bin/kill -s STOP server-0"), fault(STOP, &["server-0"]));
        assert_eq!(asked("killall server-0"), fault(TERM, &["server-0"]));
        assert_eq!(asked("kubectl delete pod sobel-0 -n rehearsal --force"), fault(KILL, &["sobel-0"]));
        assert_eq!(asked("pkill --signal CONT server-0"), Some(Asked::Continue(vec!["server-0".to_owned()])));
        assert_eq!(asked("kill -USR1 7"), None);
        assert_eq!(asked("tc qdisc add dev eth0 root netem delay 1s"), None);
    }
}
