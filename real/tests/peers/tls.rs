//! TLS with foreign stacks: grpcio has BoringSSL, and `openssl s_client` is OpenSSL's own client. The certificates are openssl's.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    environment::{Peers, peers},
    servers::GrpcioServer,
    user::User,
};

/// Certificates in a folder: of an authority, of a server on the loopback device with a key of ECDSA, of a client with one of RSA.
struct Certificates(TempDir);

impl Certificates {
    /// Makes certificates; `None` without openssl, which is said.
    fn new() -> Option<Self> {
        if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
            let _ = std::io::stderr().write_all(b"skipped: the tests of TLS, as there is no openssl\n");
            return None;
        }
        let folder = tempfile::tempdir().expect("there is room for a folder");
        fs::write(folder.path().join("san"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").expect("there is room");
        let lines = [
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority",
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN=server",
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out server.pem",
            "req -newkey rsa:2048 -nodes -keyout client.key -out client.csr -subj /CN=client",
            "x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out client.pem",
        ];
        for line in lines {
            let output = openssl(folder.path(), line);
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Some(Self(folder))
    }

    fn path(&self, file: &str) -> String {
        self.0.path().join(file).to_str().expect("it is text").to_owned()
    }

    /// The command line of a server, which demands certificates of clients or not.
    fn server_words(&self, is_mutual: bool) -> Vec<String> {
        let mut words =
            vec!["--tls-cert".to_owned(), self.path("server.pem"), "--tls-key".to_owned(), self.path("server.key")];
        if is_mutual {
            words.extend(["--tls-ca".to_owned(), self.path("ca.pem")]);
        }
        words
    }

    /// The settings of grpcio's client, with or without a certificate.
    fn of_client(&self, shows: bool) -> Value {
        let mut tls = json!({ "ca": self.path("ca.pem") });
        if shows {
            tls["cert"] = json!(self.path("client.pem"));
            tls["key"] = json!(self.path("client.key"));
        }
        tls
    }
}

fn openssl(folder: &Path, words: &str) -> Output {
    let mut command = Command::new("openssl");
    command.args(words.split(' ')).current_dir(folder).stdin(Stdio::null());
    command.output().expect("openssl is there")
}

/// Makes ten calls with grpcio's client, and returns the number of each status.
fn grpcio_calls(peers: &Peers, address: &str, tls: &Value) -> Value {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let settings = json!({
        "target": format!("ipv4:{address}"), "calls": 10, "deadline_s": 5, "tls": tls, "log": folder.path().join("log"),
        "channel": { "grpc.ssl_target_name_override": "localhost" },
    });
    // Its end ends the client: it is held open until the output is there.
    let mut command = peers.python("client.py", &[&peers.stubs(), &settings.to_string()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the interpreter starts");
    let held = child.stdin.take();
    let output = child.wait_with_output().expect("it ends");
    drop(held);
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

#[test]
fn grpcio_calls_our_servers_over_tls_and_over_mtls() {
    let (Some(peers), Some(certificates)) = (peers(), Certificates::new()) else { return };
    for (is_mutual, shows, status) in
        [(false, false, "OK"), (true, true, "OK"), (true, false, "UNAVAILABLE"), (false, true, "OK")]
    {
        let user = User::new();
        let words = certificates.server_words(is_mutual);
        let words: Vec<_> =
            ["serve", "--port", "0", "--id", "mine"].into_iter().chain(words.iter().map(String::as_str)).collect();
        let _server = user.foreground(&words);
        let counts = grpcio_calls(peers, &user.address("mine").to_string(), &certificates.of_client(shows));
        assert_eq!(counts, json!({ status: 10 }), "mutual: {is_mutual}, the client shows a certificate: {shows}");
    }
}

#[test]
fn our_client_calls_a_server_of_grpcio_over_tls_and_over_mtls() {
    let (Some(peers), Some(certificates)) = (peers(), Certificates::new()) else { return };
    for (is_mutual, shows, succeeds) in [(false, false, true), (true, true, true), (true, false, false)] {
        let mut tls = json!({ "cert": certificates.path("server.pem"), "key": certificates.path("server.key") });
        if is_mutual {
            tls["ca"] = json!(certificates.path("ca.pem"));
        }
        let server = GrpcioServer::start_with(peers, &json!({ "tls": tls }));
        let (address, [ca, cert, key]) =
            (server.address(), ["ca.pem", "client.pem", "client.key"].map(|file| certificates.path(file)));
        let mut words = vec!["load", "--servers", &address, "--duration", "1s", "--sizes", "8x8", "--tls-ca", &ca];
        if shows {
            words.extend(["--tls-cert", &cert, "--tls-key", &key]);
        }
        let output = User::new().real(&words);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.success(), succeeds, "mutual: {is_mutual}, shows: {shows}: {said}");
        assert_eq!(said.contains("10 requests in 1 s: 10 OK"), succeeds, "{said}");
    }
}

#[test]
fn openssl_sees_tls_1_3_with_http2_and_a_certificate_that_is_right() {
    let Some(certificates) = Certificates::new() else { return };
    let folder = certificates.0.path();
    let user = User::new();
    let words = certificates.server_words(true);
    let words: Vec<_> =
        ["serve", "--port", "0", "--id", "mine"].into_iter().chain(words.iter().map(String::as_str)).collect();
    let _server = user.foreground(&words);
    let connect = |more: &str| {
        let line =
            format!("s_client -connect {} -CAfile ca.pem -verify_return_error -alpn h2 {more}", user.address("mine"));
        let output = openssl(folder, line.trim_end());
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (is_served, said) = connect("-verify_ip 127.0.0.1 -cert client.pem -key client.key");
    assert!(is_served, "{said}");
    for part in [
        "Verify return code: 0 (ok)",
        "ALPN protocol: h2",
        "TLSv1.3",
        "Acceptable client certificate CA names\nCN = authority",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!connect("-verify_ip 127.0.0.2 -cert client.pem -key client.key").0, "it is for another address");
    assert!(!connect("-tls1_2 -cert client.pem -key client.key").0, "TLS 1.3 alone");
}
