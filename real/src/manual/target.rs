//! The names that users give to servers: an id, a port or an address.

use std::net::{Ipv4Addr, SocketAddr};

use kernel::{cli::Failure, visible::Visible};

use super::registry::RegistryEntry;
use crate::{location::Location, remote::RemoteArgs};

/// The entry that `text` names. Fails, with the list of entries, if there is none.
pub(super) fn find<'a>(entries: &'a [RegistryEntry], text: &str) -> Result<&'a RegistryEntry, Failure> {
    let by_id = entries.iter().find(|entry| entry.id == text);
    by_id.or_else(|| find_by_address(entries, text)).ok_or_else(|| unknown(entries, text))
}

fn find_by_address<'a>(entries: &'a [RegistryEntry], text: &str) -> Option<&'a RegistryEntry> {
    let port = address(text)?.port();
    entries.iter().find(|entry| entry.address.port() == port)
}

/// The entries that `texts` name, each once.
pub(super) fn find_all(entries: &[RegistryEntry], texts: &[String]) -> Result<Vec<RegistryEntry>, Failure> {
    let mut found: Vec<RegistryEntry> = Vec::new();
    for text in texts {
        let entry = find(entries, text)?;
        if !found.contains(entry) {
            found.push(entry.clone());
        }
    }
    Ok(found)
}

/// The location that `text` names. An address need not belong to one of `entries`; one of another machine has to be allowed by `remote`.
pub(super) fn locate(entries: &[RegistryEntry], text: &str, remote: RemoteArgs) -> Result<Location, Failure> {
    match (entries.iter().find(|entry| entry.id == text), address(text)) {
        (Some(entry), _) => Ok(Location::Fixed(entry.address)),
        (None, Some(address)) => Ok(Location::Fixed(address)),
        (None, None) if text.contains(':') => remote.locate(text),
        (None, None) => Err(unknown(entries, text)),
    }
}

/// Parses `50051`, `:50051`, `localhost:50051` or an address of the loopback device.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = if host.is_empty() || host == "localhost" { Ipv4Addr::LOCALHOST } else { host.parse().ok()? };
    host.is_loopback().then_some((host, port).into())
}

fn unknown(entries: &[RegistryEntry], text: &str) -> Failure {
    let text = text.visible();
    if entries.is_empty() {
        return Failure::wrong_input(format!("there is no `{text}`: nothing runs; start servers with `real up 2`"));
    }
    let known: Vec<_> = entries.iter().map(|entry| format!("\n  {}", entry.line())).collect();
    Failure::wrong_input(format!("there is no `{text}`; what runs is{}", known.concat()))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{identity::ProcessIdentity, registry::EntryKind},
        *,
    };

    fn entries() -> Vec<RegistryEntry> {
        let process = ProcessIdentity::for_pid(std::process::id()).expect("this lives");
        [("a", 1), ("b", 2)]
            .map(|(id, port)| RegistryEntry {
                id: id.to_owned(),
                kind: EntryKind::Server,
                address: (Ipv4Addr::LOCALHOST, port).into(),
                process: process.clone(),
                metrics: None,
            })
            .into()
    }

    #[test]
    fn a_server_is_found_by_id_and_by_port() {
        for name in ["b", "2", ":2", "localhost:2", "127.0.0.1:2"] {
            assert_eq!(find(&entries(), name).unwrap().id, "b", "{name}");
        }
        let twice = find_all(&entries(), &["b".to_owned(), "2".to_owned(), "a".to_owned()]).unwrap();
        assert_eq!(twice.iter().map(|entry| &*entry.id).collect::<Vec<_>>(), ["b", "a"]);
    }

    #[test]
    fn the_error_about_an_unknown_server_lists_the_running_ones() {
        let failure = find(&entries(), "c").unwrap_err();
        assert!(failure.message.starts_with("there is no `c`; what runs is\n  a  "), "{}", failure.message);
        assert_eq!(failure.message.lines().count(), 3);
        assert_eq!(failure.exit, kernel::cli::Exit::WrongInput);
        assert!(find(&[], "c").unwrap_err().message.ends_with("start servers with `real up 2`"));
        assert!(find(&entries(), "0").is_err() && find(&entries(), "70000").is_err());
    }

    #[test]
    fn load_goes_to_any_address_of_this_machine() {
        let port = |text| locate(&entries(), text, RemoteArgs::default()).map(|location| location.address().port());
        assert_eq!(port("b").unwrap(), 2);
        assert_eq!(port("localhost:9").unwrap(), 9);
        assert!(port("example.org:9").unwrap_err().message.contains("no address of this machine"));
        assert!(port("192.168.0.1:9").is_err() && port("c").is_err());
    }
}
