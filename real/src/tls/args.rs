//! Certificates that a user names on the command line.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use clap::Args;
use kernel::{
    cli::{Failure, complain},
    input,
    tls::{Accepting, Connecting, Identity, Tls, authority::stand_ins, parts::parts},
    visible::Visible,
};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, UnixTime,
    pem::{Error as PemError, PemObject},
};

use super::{sources, validity::validity, with_seeds};
use crate::location::Location;

/// Options for the TLS of a server that is started by hand.
#[derive(Debug, Clone, Args)]
pub(crate) struct TlsServerArgs {
    /// The file with the server's certificate and those of its issuers, in PEM; connections then are encrypted (TLS 1.3).
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The file with the key of the certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// The file with the authorities of clients' certificates, in PEM; clients then have to show one (mTLS).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_ca: Option<PathBuf>,
}

impl TlsServerArgs {
    /// The TLS of the server; `None` without a certificate.
    ///
    /// Fails if a file cannot be read, or has what cannot be used.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, Failure> {
        let Some(identity) = identity(self.tls_cert.as_deref(), self.tls_key.as_deref())? else { return Ok(None) };
        let client_authorities = self.tls_ca.as_deref().map(authorities).transpose()?.unwrap_or_default();
        let now = UnixTime::now().as_secs();
        let stand_ins = with_seeds(|seeds| stand_ins(&identity.chain[0], now, seeds)).map_err(Failure::run_failed)?;
        // A certificate without names fits no server, whatever is wrong with it.
        let [expired, untrusted] = stand_ins.unwrap_or_else(|| [identity.clone(), identity.clone()]);
        let identities = [identity, expired, untrusted];
        let tls = Tls::new(&sources(), None, Some(Accepting { identities, client_authorities }));
        let tls = tls.map_err(|error| unusable("--tls-cert", self.tls_cert.as_deref(), error))?;
        warn_of_readers(self.tls_key.as_deref());
        Ok(Some(tls))
    }

    /// True if connections are encrypted.
    pub(crate) fn is_on(&self) -> bool {
        self.tls_cert.is_some()
    }

    /// The options as a command line has them, for a process in another folder.
    pub(crate) fn words(&self) -> Vec<String> {
        let options = [("--tls-cert", &self.tls_cert), ("--tls-key", &self.tls_key), ("--tls-ca", &self.tls_ca)];
        let given = options.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?)));
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        given.flat_map(|(option, path)| [option.to_owned(), absolute(path).to_string_lossy().into_owned()]).collect()
    }
}

/// Options for the TLS of a client that is started by hand.
#[derive(Debug, Clone, Args)]
pub(crate) struct TlsClientArgs {
    /// The file with the authorities of servers' certificates, in PEM; connections then are encrypted (TLS 1.3).
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// The file with the client's certificate and those of its issuers, in PEM, for servers that ask for one (mTLS).
    #[arg(long, value_name = "FILE", requires = "tls_key", requires = "tls_ca")]
    tls_cert: Option<PathBuf>,

    /// The file with the key of the certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// The name that servers' certificates must have [default: the host of HOST:PORT as it is written, or the IP address of the server].
    #[arg(long, value_name = "NAME", requires = "tls_ca")]
    tls_name: Option<String>,
}

impl TlsClientArgs {
    /// The TLS of the client, which connects to `servers`; `None` without authorities.
    ///
    /// Fails if a file cannot be read, or has what cannot be used.
    pub(crate) fn tls(&self, servers: &[(String, Location)]) -> Result<Option<Tls>, Failure> {
        let Some(ca) = self.tls_ca.as_deref() else { return Ok(None) };
        let authorities = authorities(ca)?;
        let identity = identity(self.tls_cert.as_deref(), self.tls_key.as_deref())?;
        // The address of a name can change.
        let own = |server: &Location| server.host().map_or_else(|| server.address().ip().to_string(), str::to_owned);
        let expected = |server: &Location| self.tls_name.clone().unwrap_or_else(|| own(server));
        let names: BTreeMap<_, _> = servers.iter().map(|(name, server)| (name.clone(), expected(server))).collect();
        let (option, path) = match &self.tls_cert {
            Some(path) => ("--tls-cert", path.as_path()),
            None => ("--tls-ca", ca),
        };
        let tls = Tls::new(&sources(), Some(Connecting { authorities, identity, names }), None);
        let tls = tls.map_err(|error| unusable(option, Some(path), error))?;
        warn_of_readers(self.tls_key.as_deref());
        Ok(Some(tls))
    }
}

/// Reads a certificate and its key, if they are named.
fn identity(certificate: Option<&Path>, key: Option<&Path>) -> Result<Option<Identity>, Failure> {
    let (Some(certificate), Some(key_path)) = (certificate, key) else { return Ok(None) };
    let chain = certificates("--tls-cert", certificate)?;
    let text = read("--tls-key", key_path)?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|error| wrong("--tls-key", key_path, &pem(&error, "a key, -----BEGIN PRIVATE KEY-----")))?;
    check_validity(certificate, &chain)?;
    Ok(Some(Identity { chain, key }))
}

/// Warns if others can read the file of a key. It is used all the same: in a container it may belong to a group, and no other user is there.
fn warn_of_readers(key: Option<&Path>) {
    let is_open = |key: &&Path| fs::metadata(key).is_ok_and(|found| found.is_file() && found.mode() & 0o44 != 0);
    if let Some(key) = key.filter(is_open) {
        let key = key.visible();
        complain(&format!("warning: --tls-key: {key}: other users can read the key; run `chmod 600` on it"));
    }
}

/// Reads certificates of authorities.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    certificates("--tls-ca", path)
}

fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    const WANTED: &str = "a certificate, -----BEGIN CERTIFICATE-----";
    let text = read(option, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(wrong(option, path, &pem(&PemError::NoItemsFound, WANTED))),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(wrong(option, path, &pem(&error, WANTED))),
    }
}

fn read(option: &str, path: &Path) -> Result<String, Failure> {
    let unreadable =
        |error: std::io::Error| wrong(option, path, &format!("{error}; name a file that this user can read"));
    input::read_text(path).map_err(unreadable)
}

/// Fails if the first certificate has expired, or is not valid yet.
fn check_validity(path: &Path, chain: &[CertificateDer<'static>]) -> Result<(), Failure> {
    let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
    let parts = chain.first().and_then(|certificate| parts(certificate));
    let Some([from, until]) = parts.and_then(|parts| validity(&parts)) else {
        return Err(wrong("--tls-cert", path, "it is not a certificate of X.509"));
    };
    let at =
        |seconds: i64| jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.to_string());
    if until < now {
        let what = format!("the certificate has expired at {}; have it renewed", at(until));
        return Err(wrong("--tls-cert", path, &what));
    }
    if from > now {
        let what = format!("the certificate is valid from {} on; check the clock of this machine", at(from));
        return Err(wrong("--tls-cert", path, &what));
    }
    Ok(())
}

/// Returns what is wrong with a PEM file in which `wanted` is looked for.
fn pem(error: &PemError, wanted: &str) -> String {
    match error {
        PemError::NoItemsFound => format!("it has no {}; write the file in PEM", wanted.trim_start_matches("a ")),
        other => format!("it is not in PEM: {other:?}"),
    }
}

/// Returns the failure about what rustls refuses.
fn unusable(option: &str, path: Option<&Path>, error: kernel::tls::TlsError) -> Failure {
    let what = match &error.0 {
        rustls::Error::InconsistentKeys(_) => {
            "the certificate does not fit the key of --tls-key; name the key that it was made for".to_owned()
        }
        _ => error.to_string(),
    };
    wrong(option, path.unwrap_or(Path::new("")), &what)
}

fn wrong(option: &str, path: &Path, what: &str) -> Failure {
    Failure::wrong_input(format!("{option}: {}: {what}", path.visible()))
}
