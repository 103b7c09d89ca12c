//! TLS of processes: the certificates of a run, which the orchestrator makes and hands over, and those that a user names.
//!
//! Keys of a run never are in a file, on a command line or in an environment: each process gets its own over standard input.

mod args;
mod validity;

use std::{fmt, io, sync::Arc};

use kernel::{
    scenario::{Scenario, TlsMode},
    tls::{Accepting, Connecting, Identity, Presented, Sources, Tls, TlsError, authority::RunCertificates},
};
use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime},
    time_provider::DefaultTimeProvider,
};
use serde::{Deserialize, Serialize};

pub(crate) use args::{TlsClientArgs, TlsServerArgs};

/// Returns the sources of rustls in a process: ring's algorithms, the operating system's randomness and the time of day.
fn sources() -> Sources {
    Sources { provider: Arc::new(ring::default_provider()), time: Arc::new(DefaultTimeProvider) }
}

/// Returns what `make` makes with keys of random bytes. Fails if the operating system has no randomness.
fn with_seeds<T>(make: impl FnOnce(&mut dyn FnMut() -> [u8; 32]) -> T) -> io::Result<T> {
    let random = ring::default_provider().secure_random;
    let mut is_random = true;
    let made = make(&mut || {
        let mut seed = [0; 32];
        is_random &= random.fill(&mut seed).is_ok();
        seed
    });
    if is_random { Ok(made) } else { Err(io::Error::other("the operating system gives no random bytes")) }
}

/// The certificates of one process of a run. The `Debug` output has no key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessTls {
    /// The authority of the run, in DER.
    authority: Vec<u8>,
    /// The client shows a certificate, too.
    is_mutual: bool,
    /// The certificates that a server can present, or that the client presents if it does.
    identities: Vec<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for ProcessTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProcessTls")
    }
}

impl ProcessTls {
    fn new(run: &RunCertificates, identities: &[Identity]) -> Self {
        let parts = |identity: &Identity| (identity.chain[0].to_vec(), identity.key.secret_der().to_vec());
        Self {
            authority: run.authority.to_vec(),
            is_mutual: run.client.is_some(),
            identities: identities.iter().map(parts).collect(),
        }
    }

    /// The TLS of the load process.
    pub(crate) fn client(&self) -> Result<Tls, TlsError> {
        let identity = self.identities().next();
        let authorities = vec![self.authority()];
        Tls::new(&sources(), Some(Connecting { authorities, identity, names: Default::default() }), None)
    }

    /// The TLS of a replica.
    pub(crate) fn server(&self) -> Result<Tls, TlsError> {
        Tls::new(&sources(), None, Some(self.accepting()?))
    }

    /// The TLS of a replica that calls others. It presents its own certificate to them.
    pub(crate) fn both(&self) -> Result<Tls, TlsError> {
        let identity = self.identities().next().filter(|_| self.is_mutual);
        let connecting = Connecting { authorities: vec![self.authority()], identity, names: Default::default() };
        Tls::new(&sources(), Some(connecting), Some(self.accepting()?))
    }

    fn accepting(&self) -> Result<Accepting, TlsError> {
        let identities: Vec<_> = self.identities().collect();
        let identities = identities.try_into().map_err(|_| rustls::Error::NoCertificatesPresented)?;
        let client_authorities = if self.is_mutual { vec![self.authority()] } else { Vec::new() };
        Ok(Accepting { identities, client_authorities })
    }

    fn authority(&self) -> CertificateDer<'static> {
        self.authority.clone().into()
    }

    fn identities(&self) -> impl Iterator<Item = Identity> {
        self.identities.iter().map(|(certificate, key)| Identity {
            chain: vec![certificate.clone().into()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.clone())),
        })
    }
}

/// The TLS of a run, of which each process gets its part.
pub(crate) struct RunTls {
    /// The certificates of each server, by its index.
    pub(crate) servers: Vec<ProcessTls>,
    /// The certificates of the load, and of the health checks of the orchestrator.
    pub(crate) client: ProcessTls,
}

impl RunTls {
    /// Makes the certificates of a run, if its connections are encrypted. Fails if the operating system has no randomness.
    pub(crate) fn for_scenario(scenario: &Scenario) -> io::Result<Option<Self>> {
        scenario.tls.map(|tls| Self::new(tls.mode, scenario)).transpose()
    }

    fn new(mode: TlsMode, scenario: &Scenario) -> io::Result<Self> {
        let now = UnixTime::now().as_secs();
        let run = with_seeds(|seeds| RunCertificates::new(mode, scenario.server_names(), now, seeds))?;
        let presented = [Presented::Valid, Presented::Expired, Presented::Untrusted];
        let of_server = |index| {
            let identities = presented.map(|presented| run.of_server(index, presented).clone());
            ProcessTls::new(&run, &identities)
        };
        let servers = (0..scenario.replicas()).map(of_server).collect();
        Ok(Self { servers, client: ProcessTls::new(&run, run.client.as_slice()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_is_given_is_the_same_after_a_round_trip_and_shows_no_key() {
        let text = "name = \"s\"\nduration = \"1s\"\n[load]\nrate = 1\n[tls]\nmode = \"mutual\"\n";
        let run = RunTls::for_scenario(&Scenario::parse("s", text, &[]).unwrap()).unwrap().unwrap();
        for process in run.servers.iter().chain([&run.client]) {
            let text = serde_json::to_string(process).unwrap();
            assert_eq!(serde_json::from_str::<ProcessTls>(&text).unwrap(), *process);
            assert_eq!(format!("{process:?}"), "ProcessTls");
        }
        assert!(run.servers.iter().all(|server| server.server().is_ok()));
        assert!(run.client.client().is_ok());
        assert!(run.client.server().is_err(), "a client has one certificate");
    }
}
