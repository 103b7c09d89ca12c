//! Addresses of other machines, which a command speaks with only if it is allowed to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use clap::Args;
use kernel::{cli::Failure, visible::Visible};
use serde::{Deserialize, Serialize};

use crate::location::Location;

/// The option that allows other machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Args, Serialize, Deserialize)]
pub(crate) struct RemoteArgs {
    /// Allows addresses of other machines. Calls and metrics are not encrypted; with a token in the environment, servers ask for it.
    #[arg(long)]
    allow_remote: bool,
}

impl RemoteArgs {
    /// The option of a command that allows other machines, or does not.
    pub(crate) const fn new(allow_remote: bool) -> Self {
        Self { allow_remote }
    }

    /// Returns whether other machines are allowed.
    pub(crate) fn is_allowed(self) -> bool {
        self.allow_remote
    }

    /// Checks that `ip` may be used, which `option` has on the command line.
    pub(crate) fn check(self, option: &str, ip: IpAddr) -> Result<(), Failure> {
        if self.allow_remote || ip.is_loopback() {
            return Ok(());
        }
        Err(Failure::wrong_input(format!(
            "{ip} of {option} is reached from other machines; allow that with --allow-remote, or write an address of the loopback \
             device, such as 127.0.0.1"
        )))
    }

    /// Returns the location of `text`, which is HOST:PORT, if other machines are allowed.
    ///
    /// # Errors
    /// They are not, or the host has no address.
    pub(crate) fn locate(self, text: &str) -> Result<Location, Failure> {
        let shown = text.visible();
        if !self.allow_remote {
            return Err(Failure::wrong_input(format!(
                "`{shown}` is no address of this machine; write localhost:PORT or 127.0.0.1:PORT, or allow other machines with \
                 --allow-remote"
            )));
        }
        Location::parse(text).map_err(|error| Failure::wrong_input(format!("`{shown}` has no address: {error}")))
    }

    /// Returns the option for the command line of another process.
    pub(crate) fn words(self) -> Option<String> {
        self.allow_remote.then(|| "--allow-remote".to_owned())
    }
}

/// Returns the address of a port of the loopback device, or of HOST:PORT, that of IPv4 if there are several: `localhost` can have addresses of both versions, and most servers
/// listen at the one of IPv4.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let found = text.to_socket_addrs().map(|found| found.collect::<Vec<_>>());
    let found = found.map_err(|error| format!("{error}; write PORT or HOST:PORT, such as localhost:8080"))?;
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| "the host has no address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK_ONLY: RemoteArgs = RemoteArgs::new(false);
    const ANY: RemoteArgs = RemoteArgs::new(true);

    #[test]
    fn other_machines_have_to_be_allowed() {
        assert!(LOOPBACK_ONLY.check("--listen", Ipv4Addr::LOCALHOST.into()).is_ok());
        let failure = LOOPBACK_ONLY.check("--listen", Ipv4Addr::UNSPECIFIED.into()).unwrap_err();
        assert!(
            failure.message.starts_with("0.0.0.0 of --listen is reached from other machines"),
            "{}",
            failure.message
        );
        assert!(ANY.check("--listen", Ipv4Addr::UNSPECIFIED.into()).is_ok());
    }

    #[test]
    fn a_name_is_resolved_only_if_it_may_be_of_another_machine() {
        assert!(LOOPBACK_ONLY.locate("localhost:7").unwrap_err().message.contains("--allow-remote"));
        assert_eq!(ANY.locate("localhost:7").unwrap().address(), (Ipv4Addr::LOCALHOST, 7).into());
        assert!(ANY.locate("nothing").unwrap_err().message.contains("write PORT or HOST:PORT"));
    }
}
