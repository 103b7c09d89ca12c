//! TLS of a simulated run: certificates, keys and all other randomness are drawn from the seed, and the time is that of the virtual clock.
//!
//! ring encrypts, signs and verifies, which needs no randomness. Its own key exchange takes randomness from the operating system, so
//! that the group is another implementation of X25519. Signatures of Ed25519 and the record layer are functions of their input.

use std::sync::Arc;

use kernel::{
    entropy::Entropy,
    scenario::{ServerNames, TlsMode},
    tls::{Accepting, Connecting, Presented, Sources, Tls, authority::RunCertificates, draws},
};
use rand::Rng;
use rustls::{
    Error, NamedGroup,
    crypto::{ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup, ring},
    ffdhe_groups::FfdheGroup,
    pki_types::UnixTime,
    time_provider::TimeProvider,
};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::{clock::Clock, host_id::HostId, interpose::EPOCH_SECONDS, planted::planted};

/// The TLS of all hosts of a run.
pub(crate) struct RunTls {
    certificates: RunCertificates,
    sources: Sources,
    entropy: Entropy,
    mode: TlsMode,
    /// Servers connect to others, too.
    servers_connect: bool,
}

impl RunTls {
    pub(crate) fn new(mode: TlsMode, names: &ServerNames, clock: Arc<Clock>, entropy: Entropy) -> Self {
        let mut keys = entropy.stream("tls.keys");
        let seeds = || {
            let mut seed = [0; 32];
            keys.fill_bytes(&mut seed);
            seed
        };
        let certificates = RunCertificates::new(mode, names.all(), EPOCH_SECONDS, seeds);
        let sources = Sources { provider: Arc::new(provider()), time: Arc::new(VirtualTime(clock)) };
        Self { certificates, sources, entropy, mode, servers_connect: names.has_services() }
    }

    /// Returns the TLS of `host`: the client connects, and servers accept, and connect if they call others, as the client does.
    pub(crate) fn of_host(&self, host: HostId) -> Tls {
        let authorities = vec![self.certificates.authority.clone()];
        let index = host.number.checked_sub(1);
        let accepting = index.map(|index| Accepting {
            identities: [Presented::Valid, Presented::Expired, Presented::Untrusted]
                .map(|presented| self.certificates.of_server(index, presented).clone()),
            client_authorities: if self.mode == TlsMode::Mutual { authorities.clone() } else { Vec::new() },
        });
        let connects = index.is_none() || self.servers_connect;
        let identity = self.certificates.client.clone();
        let connecting = connects.then(|| Connecting { authorities, identity, names: Default::default() });
        let tls = Tls::new(&self.sources, connecting, accepting);
        tls.expect("the certificates of a run can be used").drawing(self.entropy, &host.name())
    }
}

/// Returns ring's algorithms, with randomness of the connections and a key exchange that uses it.
fn provider() -> CryptoProvider {
    let group = if planted!(Canary::RingGroup) { ring::kx_group::X25519 } else { &X25519 };
    let mut provider = CryptoProvider { kx_groups: vec![group], secure_random: &Drawn, ..ring::default_provider() };
    // A dependency may switch on TLS 1.2 in rustls, whose suites a client would name: the length of a message is part of a digest.
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    provider
}

/// Randomness from the stream of the connection at work.
#[derive(Debug)]
struct Drawn;

impl SecureRandom for Drawn {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        draws::fill(bytes).map_err(|_| GetRandomFailed)
    }
}

/// X25519 with keys from the stream of the connection at work (RFC 7748).
#[derive(Debug)]
struct X25519;

impl SupportedKxGroup for X25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut key = [0; 32];
        draws::fill(&mut key).map_err(|_| Error::FailedToGetRandomBytes)?;
        let secret = StaticSecret::from(key);
        let public = PublicKey::from(&secret);
        Ok(Box::new(KeyExchange { secret, public }))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

struct KeyExchange {
    secret: StaticSecret,
    public: PublicKey,
}

impl ActiveKeyExchange for KeyExchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer: [u8; 32] = peer.try_into().map_err(|_| rustls::PeerMisbehaved::InvalidKeyShare)?;
        let shared = self.secret.diffie_hellman(&PublicKey::from(peer));
        if !shared.was_contributory() {
            return Err(rustls::PeerMisbehaved::InvalidKeyShare.into());
        }
        Ok(SharedSecret::from(&shared.as_bytes()[..]))
    }

    fn pub_key(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// The virtual clock as a time of day.
#[derive(Debug)]
struct VirtualTime(Arc<Clock>);

impl TimeProvider for VirtualTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since_start = std::time::Duration::from_nanos(self.0.now().as_nanos());
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(EPOCH_SECONDS) + since_start))
    }
}
