//! Encrypted connections between processes: a run whose certificate expires, as in the simulation, and certificates that a user names.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::AtomicU64,
};

use kernel::{
    record::{Event, Records},
    scenario::{Scenario, TlsMode},
    tls::{Identity, Presented, authority::RunCertificates},
};
use tempfile::TempDir;

use crate::{
    child::{self, Run, wait_until},
    user::User,
};

const SEED: u64 = 42;

/// The scenario `expired_certificate`, in less time.
const SHORTER: [&str; 5] =
    ["duration=10s", "servers.max_connection_age=1s", "servers.workers=8", "fault.0.at=3s", "fault.0.duration=3s"];

/// What a world makes of the scenario: how calls ended, why connections failed, and whether server-1 answered in each of three spans.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    calls: Vec<(u64, String, u32)>,
    failures: BTreeSet<(Option<String>, Option<String>)>,
    is_asked: [bool; 3],
}

impl Outcome {
    fn new(records: &Records) -> Self {
        let failures = records.events.iter().filter(|row| row.event == Event::TransientFailure);
        let failures = failures.map(|row| (row.target.as_ref().map(ToString::to_string), row.cause.clone()));
        // Before the fault; from the end of its connection, with a second for a busy machine, to the end of the fault; and the end of the
        // run, when the client has tried again.
        let spans = [0..3_000_000, 5_200_000..6_000_000, 9_000_000..10_000_000];
        let is_asked = spans.map(|span| {
            records.attempts.iter().any(|row| row.server.as_str() == "server-1" && span.contains(&row.start_us))
        });
        let calls = records.requests.iter().map(|row| (row.id, format!("{:?}", row.status), row.attempts)).collect();
        Self { calls, failures: failures.collect(), is_asked }
    }
}

#[test]
fn a_replica_whose_certificate_expires_is_lost_in_both_worlds() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/expired_certificate.toml");
    let scenario = Scenario::load(&file, &SHORTER.map(str::to_owned)).unwrap();
    let simulated = sim::run(&sim::Plan::new(scenario, SEED), &AtomicU64::new(0)).unwrap();
    let simulated = Outcome::new(&simulated.records);

    let folder = TempDir::new().unwrap();
    let out = folder.path().join("run");
    let options: Vec<_> = SHORTER.into_iter().chain(["run.max_lateness=1h"]).flat_map(|set| ["--set", set]).collect();
    let (_, said) = Run::start_with(&file, SEED, &out, &options).end();
    let real = Outcome::new(&child::records(&out));

    assert_eq!(simulated, real, "{said}");
    let reason = "TLS failed: the certificate has expired".to_owned();
    assert_eq!(real.failures, BTreeSet::from([(Some("server-1".to_owned()), Some(reason))]));
    assert_eq!(real.is_asked, [true, false, true]);
    assert!(
        real.calls.iter().all(|(_, status, attempts)| status == "Status(Ok)" && *attempts == 1),
        "{:?}",
        real.calls
    );
}

/// Files in PEM.
struct Files {
    folder: TempDir,
    run: RunCertificates,
}

impl Files {
    fn new() -> Self {
        let now = std::time::UNIX_EPOCH.elapsed().expect("it is past").as_secs();
        let mut keys = 1..;
        let run = RunCertificates::new(TlsMode::Mutual, ["server-0".to_owned()], now, || {
            [keys.next().unwrap_or_default(); 32]
        });
        Self { folder: TempDir::new().expect("there is room for a folder"), run }
    }

    fn write(&self, name: &str, label: &str, der: &[u8]) -> String {
        let text = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", base64(der));
        self.write_text(name, &text)
    }

    fn write_text(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        fs::write(&path, text).expect("there is room for a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        path.to_str().expect("it is text").to_owned()
    }

    fn authority(&self) -> String {
        self.write("ca.pem", "CERTIFICATE", &self.run.authority)
    }

    /// The files of a certificate and its key.
    fn identity(&self, name: &str, identity: &Identity) -> [String; 2] {
        let key = self.write(&format!("{name}.key"), "PRIVATE KEY", identity.key.secret_der());
        [self.write(&format!("{name}.pem"), "CERTIFICATE", &identity.chain[0]), key]
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let of_three = |three: &[u8]| {
        let bits = (0..3).fold(0, |bits, index| bits << 8 | usize::from(three.get(index).copied().unwrap_or(0)));
        let digit =
            |index: usize| if index > three.len() { '=' } else { char::from(DIGITS[bits >> (18 - 6 * index) & 63]) };
        [0, 1, 2, 3].map(digit)
    };
    let text: Vec<char> = bytes.chunks(3).flat_map(of_three).collect();
    text.chunks(64).map(|line| line.iter().collect::<String>()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_server_and_a_load_by_hand_use_the_certificates_that_they_are_given() {
    let files = Files::new();
    let ca = files.authority();
    let [cert, key] = files.identity("server", files.run.of_server(0, Presented::Valid));
    let [client, client_key] = files.identity("client", files.run.client.as_ref().unwrap());
    let user = User::new();
    user.says(&["up", "1", "--start-port", "0", "--tls-cert", &cert, "--tls-key", &key, "--tls-ca", &ca]);
    let load = ["load", "--servers", "server-0", "--duration", "1s", "--rate", "10", "--sizes", "8x8", "--tls-ca", &ca];
    let shows = ["--tls-cert", &client, "--tls-key", &client_key];
    let summary = user.says(&[&load[..], &shows].concat());
    assert!(summary.contains("10 requests in 1 s: 10 OK"), "{summary}");
    let named = user.says(&[&load[..], &shows, &["--tls-name", "server-0"]].concat());
    assert!(named.contains("10 requests in 1 s: 10 OK"), "{named}");
    // Without a certificate, with another name, and without TLS nothing is answered.
    for words in [&load[..], &[&load[..], &shows, &["--tls-name", "elsewhere"]].concat(), &load[..load.len() - 2]] {
        let output = user.real(words);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(!said.contains(" OK"), "{said}");
    }
}

#[test]
fn certificates_that_cannot_be_used_are_refused_before_anything_starts() {
    let files = Files::new();
    let [cert, key] = files.identity("server", files.run.of_server(0, Presented::Valid));
    let [other, other_key] = files.identity("other", files.run.client.as_ref().unwrap());
    let [expired, expired_key] = files.identity("expired", files.run.of_server(0, Presented::Expired));
    let text = files.write_text("text.pem", "this is not PEM\n");
    let cut = files.write_text("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
    let cases = [
        ([&cert, &other_key], "does not fit the key of --tls-key"),
        ([&other, &key], "does not fit the key of --tls-key"),
        ([&expired, &expired_key], "the certificate has expired at "),
        ([&text, &key], "--tls-cert: "),
        ([&cut, &key], "--tls-cert: "),
        ([&key, &key], "it has no certificate, -----BEGIN CERTIFICATE-----"),
        ([&cert, &cert], "it has no key, -----BEGIN PRIVATE KEY-----"),
        ([&cert, &"/nowhere/key".to_owned()], "--tls-key: /nowhere/key: "),
    ];
    let user = User::new();
    for ([cert, key], reason) in cases {
        for command in [&["serve", "--port", "0"][..], &["up", "1", "--start-port", "0"]] {
            let (code, said) = user.fails(&[command, &["--tls-cert", cert, "--tls-key", key]].concat());
            assert_eq!(code, Some(2), "{said}");
            assert!(said.starts_with("error: --tls-") && said.contains(reason), "{reason}: {said}");
            assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        }
    }
    assert!(user.entries().is_empty());
    let (code, said) = user.fails(&["serve", "--port", "0", "--tls-cert", &cert]);
    assert!(code == Some(2) && said.contains("--tls-key"), "{said}");
}

#[test]
fn certificates_are_broken_and_healed_by_hand_while_open_connections_stay() {
    let files = Files::new();
    let ca = files.authority();
    let [cert, key] = files.identity("server", files.run.of_server(0, Presented::Valid));
    let user = User::new();
    user.says(&["up", "1", "--start-port", "0", "--tls-cert", &cert, "--tls-key", &key]);
    let words =
        ["load", "--servers", "server-0", "--rate", "10", "--sizes", "8x8", "--tls-ca", &ca, "--tls-name", "server-0"];
    // The exit code of a load, its summary, and what it says of connections.
    let load = || {
        let output = user.real(&[&words[..], &["--duration", "500ms", "--set", "client.deadline=300ms"]].concat());
        let [summary, said] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.code(), summary, said)
    };
    for (fault, reason) in [
        ("certificate-expired", "TLS failed: the certificate has expired"),
        ("certificate_untrusted", "TLS failed: the certificate's issuer is unknown"),
    ] {
        user.says(&["inject", fault, "server-0"]);
        assert!(user.says(&["list"]).contains("a certificate "), "{fault}");
        let (code, summary, said) = load();
        assert_eq!(code, Some(1), "{summary}");
        assert!(said.contains(&format!("! server-0 is unhealthy: {reason}")), "{fault}: {said}");
        user.says(&["inject", "heal", "server-0"]);
        let (code, summary, said) = load();
        assert!(code == Some(0) && summary.contains("5 requests in 500 ms: 5 OK"), "{summary}\n{said}");
    }

    // A load whose connection is open before the fault does not notice it.
    let log = user.runtime.path().join("open.jsonl");
    let mut open = user.command(&[&words[..], &["--duration", "3s", "--log", log.to_str().unwrap()]].concat());
    let open = open.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("it is under way", || fs::read_to_string(&log).is_ok_and(|rows| rows.contains("\"OK\"")));
    user.says(&["inject", "certificate-expired", "server-0"]);
    let output = open.wait_with_output().unwrap();
    let summary = String::from_utf8_lossy(&output.stdout);
    assert!(summary.contains("30 requests in 3 s: 30 OK"), "{summary}");
    assert!(summary.contains("certificate_expired"), "the fault is in the record: {summary}");
}

#[test]
fn a_server_without_tls_has_no_certificate_that_could_expire() {
    let user = User::new();
    user.says(&["up", "1", "--start-port", "0"]);
    let (code, said) = user.fails(&["inject", "certificate-expired", "server-0"]);
    let expected = "error: cannot inject `certificate_expired` into server-0: its connections are not encrypted; start it with --tls-cert \
                    and --tls-key\n";
    assert_eq!((code, &*said), (Some(2), expected));
    let upstream = user.address("server-0").to_string();
    let _proxy = user.foreground(&["proxy", "--listen", "0", "--upstream", &upstream, "--id", "between"]);
    let (code, said) = user.fails(&["inject", "certificate-untrusted", "between"]);
    let expected = "error: `certificate_untrusted` is a fault of a server, and between is a proxy\n";
    assert_eq!((code, &*said), (Some(2), expected));
}

#[test]
fn a_key_that_others_can_read_is_warned_of_and_used() {
    let files = Files::new();
    let ca = files.authority();
    let [cert, key] = files.identity("server", files.run.of_server(0, Presented::Valid));
    let user = User::new();
    let warning = format!("warning: --tls-key: {key}: other users can read the key; run `chmod 600` on it\n");
    for (mode, warned) in [(0o600, false), (0o640, true), (0o604, true)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let up = user.real(&["up", "1", "--start-port", "0", "--tls-cert", &cert, "--tls-key", &key]);
        let said = String::from_utf8_lossy(&up.stderr);
        assert!(up.status.success(), "{said}");
        assert_eq!(said.contains(&warning), warned, "{mode:o}: {said}");
        user.says(&["down"]);
    }
    // A client's key, too.
    user.says(&["up", "1", "--start-port", "0", "--tls-cert", &cert, "--tls-key", &key]);
    let words = [
        "load",
        "--duration",
        "300ms",
        "--rate",
        "10",
        "--sizes",
        "8x8",
        "--tls-ca",
        &ca,
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
    ];
    let load = user.real(&words);
    assert!(String::from_utf8_lossy(&load.stderr).contains(&warning));
    assert_eq!(load.status.code(), Some(0));
}
