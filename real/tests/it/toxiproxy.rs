//! toxiproxy's HTTP API on a proxy: what its clients ask for happens to the bytes that pass.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::SocketAddr,
    process::Stdio,
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::user::{Foreground, User};

#[expect(clippy::disallowed_types, reason = "a client that is not ours")]
type Socket = std::net::TcpStream;

#[expect(clippy::disallowed_types, reason = "a server that is not ours")]
type Server = std::net::TcpListener;

/// A proxy with its API, in front of a server that sends back what it gets.
struct Proxied {
    user: User,
    api: SocketAddr,
    upstream: String,
    _proxy: Foreground,
}

impl Proxied {
    fn start() -> Self {
        let echo = Server::bind("127.0.0.1:0").expect("a port is free");
        let upstream = echo.local_addr().expect("it is bound").to_string();
        let serve = move || {
            for socket in echo.incoming() {
                let mut socket = socket.expect("it is connected to");
                let _ = thread::Builder::new().spawn(move || {
                    let mut to = socket.try_clone().expect("descriptors are left");
                    let _ = std::io::copy(&mut socket, &mut to);
                });
            }
        };
        thread::Builder::new().spawn(serve).expect("threads can be had");
        let user = User::new();
        let words = ["proxy", "--listen", "0", "--upstream", &upstream, "--id", "web", "--toxiproxy", "0"];
        let mut child = user.command(&words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut said = BufReader::new(child.stderr.take().expect("it is a pipe"));
        let mut line = String::new();
        while !line.contains("http://") {
            line.clear();
            assert!(said.read_line(&mut line).expect("it is text") > 0, "it has ended");
        }
        // It must not wait for a reader of what it says later.
        let _ = thread::Builder::new().spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let api = line.trim().rsplit('/').next().and_then(|address| address.parse().ok()).expect("it is an address");
        Self { user, api, upstream, _proxy: Foreground(child) }
    }

    fn ask(&self, request: &str, body: Option<Value>) -> (u16, Value) {
        let mut socket = Socket::connect(self.api).expect("it listens");
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let head = format!("{request} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        socket.write_all(head.as_bytes()).expect("it is taken");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("it is answered");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("it has a status");
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn toxic(&self, toxic: Value) {
        let (status, answer) = self.ask("POST /proxies/web/toxics", Some(toxic));
        assert_eq!(status, 200, "{answer}");
    }

    fn connect(&self) -> Socket {
        let socket = Socket::connect(self.user.address("web")).expect("it listens");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("it is a socket");
        socket
    }
}

/// Sends bytes, and returns what comes back until the end.
fn sent_back(mut socket: Socket, bytes: &[u8]) -> Result<Vec<u8>, ErrorKind> {
    let mut back = Vec::new();
    socket.write_all(bytes).map_err(|error| error.kind())?;
    // An error means that the proxy was faster.
    let _ = socket.shutdown(std::net::Shutdown::Write);
    socket.read_to_end(&mut back).map_err(|error| error.kind())?;
    Ok(back)
}

#[test]
fn proxies_are_listed_added_changed_and_removed() {
    let proxied = Proxied::start();
    assert_eq!(proxied.ask("GET /version", None), (200, json!({ "version": "2.12.0" })));
    let listen = proxied.user.address("web").to_string();
    let web = json!({ "name": "web", "listen": listen, "upstream": proxied.upstream, "enabled": true, "toxics": [] });
    assert_eq!(proxied.ask("GET /proxies", None), (200, json!({ "web": web })));

    let asked = json!({ "name": "another one", "upstream": proxied.upstream });
    let (status, added) = proxied.ask("POST /proxies", Some(asked.clone()));
    assert_eq!((status, &added["enabled"]), (201, &json!(true)), "{added}");
    assert_eq!(
        proxied.ask("POST /proxies", Some(asked)),
        (409, json!({ "error": "proxy already exists", "status": 409 }))
    );
    let address: SocketAddr = added["listen"].as_str().and_then(|text| text.parse().ok()).expect("it is an address");
    assert_eq!(sent_back(Socket::connect(address).expect("it listens"), b"hello"), Ok(b"hello".to_vec()));

    let (status, changed) = proxied.ask("POST /proxies/another%20one", Some(json!({ "enabled": false })));
    assert_eq!((status, &changed["enabled"], &changed["listen"]), (200, &json!(false), &added["listen"]));
    assert!(Socket::connect(address).is_err(), "it accepts connections after its client was answered");
    assert_eq!(proxied.ask("POST /reset", None).0, 204);
    assert_eq!(sent_back(Socket::connect(address).expect("it listens again"), b"again"), Ok(b"again".to_vec()));
    // Its socket is closed and opened again within each of these, at the address that the socket before had.
    for upstream in ["127.0.0.1:1", &*proxied.upstream] {
        let elsewhere = json!({ "upstream": upstream, "listen": added["listen"] });
        let (status, moved) = proxied.ask("POST /proxies/another%20one", Some(elsewhere.clone()));
        assert_eq!(
            (status, &moved["enabled"], &moved["upstream"]),
            (200, &json!(true), &elsewhere["upstream"]),
            "{moved}"
        );
    }
    let replaced = json!([{ "name": "another one", "upstream": "localhost:1", "listen": added["listen"] }]);
    let (status, replaced) = proxied.ask("POST /populate", Some(replaced));
    assert_eq!((status, &replaced["proxies"][0]["listen"]), (201, &added["listen"]), "{replaced}");
    assert_eq!(proxied.ask("DELETE /proxies/another%20one", None).0, 204);
    assert_eq!(
        proxied.ask("GET /proxies/another%20one", None),
        (404, json!({ "error": "proxy not found", "status": 404 }))
    );
    assert!(Socket::connect(address).is_err(), "it accepts connections after it was deleted");

    let (status, populated) =
        proxied.ask("POST /populate", Some(json!([{ "name": "p", "upstream": proxied.upstream, "enabled": false }])));
    assert_eq!((status, &populated["proxies"][0]["enabled"]), (201, &json!(false)), "{populated}");
    let (status, refused) =
        proxied.ask("POST /proxies", Some(json!({ "name": "q", "listen": "0.0.0.0:0", "upstream": "127.0.0.1:1" })));
    assert!(
        status == 400 && refused["error"].as_str().is_some_and(|text| text.contains("--allow-remote")),
        "{refused}"
    );
    assert_eq!(
        proxied.ask("POST /proxies", Some(json!({ "name": "q" }))).1["error"],
        "missing required field: upstream"
    );
    assert_eq!(proxied.ask("GET /nothing", None).0, 404);
}

#[test]
fn toxics_act_on_the_bytes_that_pass_until_they_are_removed() {
    let proxied = Proxied::start();
    let bytes: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
    let whole = || assert_eq!(sent_back(proxied.connect(), &bytes).map(|back| back == bytes), Ok(true));
    whole();

    proxied.toxic(json!({ "type": "limit_data", "attributes": { "bytes": 1000 } }));
    assert_eq!(sent_back(proxied.connect(), &bytes[..1100]).map(|back| back == bytes[..1000]), Ok(true));
    assert_eq!(proxied.ask("DELETE /proxies/web/toxics/limit_data_downstream", None).0, 204);
    whole();

    proxied.toxic(json!({ "name": "reset", "type": "reset_peer" }));
    assert_eq!(sent_back(proxied.connect(), &bytes), Err(ErrorKind::ConnectionReset));
    let (status, changed) =
        proxied.ask("PATCH /proxies/web/toxics/reset", Some(json!({ "attributes": { "timeout": 50 } })));
    assert_eq!((status, &changed["attributes"]["timeout"]), (200, &json!(50)));
    let mut open = proxied.connect();
    assert_eq!(open.read(&mut [0]).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    assert_eq!(proxied.ask("DELETE /proxies/web/toxics/reset", None).0, 204);

    proxied
        .toxic(json!({ "name": "gone", "type": "timeout", "stream": "downstream", "attributes": { "timeout": 50 } }));
    let mut open = proxied.connect();
    open.write_all(b"lost").expect("it is taken");
    assert_eq!(
        open.read(&mut [0]).map_err(|error| error.kind()),
        Err(ErrorKind::ConnectionReset),
        "nothing comes back"
    );
    assert_eq!(proxied.ask("DELETE /proxies/web/toxics/gone", None).0, 204);

    for toxic in [
        json!({ "type": "latency", "stream": "upstream", "attributes": { "latency": 5, "jitter": 5 } }),
        json!({ "type": "bandwidth", "toxicity": 0.5, "attributes": { "rate": 10_000 } }),
        json!({ "type": "slicer", "attributes": { "average_size": 5000, "size_variation": 1000, "delay": 10 } }),
        json!({ "type": "slow_close", "attributes": { "delay": 20 } }),
    ] {
        proxied.toxic(toxic);
    }
    whole();
    let (_, toxics) = proxied.ask("GET /proxies/web/toxics", None);
    assert_eq!(toxics.as_array().map(Vec::len), Some(4), "{toxics}");
    let twice = proxied.ask("POST /proxies/web/toxics", Some(json!({ "type": "latency", "stream": "upstream" })));
    assert_eq!(twice, (409, json!({ "error": "toxic already exists", "status": 409 })));
    // What `real inject` lifts is gone for the API, too.
    proxied.user.says(&["inject", "heal", "web"]);
    assert_eq!(proxied.ask("GET /proxies/web/toxics", None), (200, json!([])));
    proxied.toxic(json!({ "type": "latency", "attributes": { "latency": 5 } }));
    assert_eq!(proxied.ask("POST /reset", None).0, 204);
    assert_eq!(proxied.ask("GET /proxies/web/toxics/latency_downstream", None).0, 404);
    whole();
}

#[test]
fn hostile_requests_are_refused_and_the_next_one_is_answered() {
    let proxied = Proxied::start();
    for hostile in [
        "GET / HTTP/1.1\r\nUser-Agent: Mozilla/5.0\r\n\r\n".to_owned(),
        "POST /proxies HTTP/1.1\r\nContent-Length: 3\r\n\r\n[[[".to_owned(),
        format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)),
        "\r\n\r\n".to_owned(),
    ] {
        let mut socket = Socket::connect(proxied.api).expect("it listens");
        // It may be answered before all of this is written.
        let _ = socket.write_all(hostile.as_bytes());
        let mut answer = [0; 12];
        if socket.read_exact(&mut answer).is_ok() {
            assert!(answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
        }
    }
    let silent = Socket::connect(proxied.api).expect("it listens");
    assert_eq!(proxied.ask("GET /version", None).0, 200);
    drop(silent);
    for body in [json!(null), json!([1, 2]), json!("x"), json!({ "name": "x".repeat(100), "upstream": "1" })] {
        assert_eq!(proxied.ask("POST /proxies", Some(body)).0, 400);
    }
    assert_eq!(proxied.ask("POST /populate", Some(json!({}))).0, 400);
}
