use std::{
    future::{pending, poll_fn},
    time::Duration,
};

use futures_util::future::join;
use rustls::{crypto::ring, pki_types::CertificateDer, time_provider::TimeProvider};

use super::{
    authority::{RunCertificates, stand_ins},
    parts::parts,
    settings::TlsMode,
    *,
};
use crate::{
    fuzzing::{
        host::over,
        network::{Network, answering},
    },
    record::{Recorder, Records},
    server::{Injector, serve},
    time::Instant,
    world::{BoxStream, Patience, PeerLimits, PeerTerms, timeout_at},
};

/// The time of day of all tests.
const NOW: u64 = 1_600_000_000;

#[derive(Debug)]
struct Noon;

impl TimeProvider for Noon {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        Some(rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW)))
    }
}

fn sources() -> Sources {
    Sources { provider: Arc::new(ring::default_provider()), time: Arc::new(Noon) }
}

fn certificates(mode: TlsMode) -> RunCertificates {
    let mut keys = 0..;
    RunCertificates::new(mode, ["server-0".to_owned()], NOW, || [keys.next().unwrap_or_default(); 32])
}

/// The TLS of a client of the run, which looks for `name` in certificates.
fn client(run: &RunCertificates, name: &str) -> Tls {
    let names = BTreeMap::from([("server-0".to_owned(), name.to_owned())]);
    let connecting = Connecting { authorities: vec![run.authority.clone()], identity: run.client.clone(), names };
    Tls::new(&sources(), Some(connecting), None).unwrap()
}

/// The TLS of a server of the run, which asks for certificates if clients must have one.
fn server(run: &RunCertificates, is_mutual: bool) -> Tls {
    let identities = run.servers[0].clone();
    let client_authorities = if is_mutual { vec![run.authority.clone()] } else { Vec::new() };
    Tls::new(&sources(), None, Some(Accepting { identities, client_authorities })).unwrap()
}

/// Reads `count` bytes, or the error or end before.
async fn read(stream: &mut (impl Stream + ?Sized), count: usize) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    while read.len() < count {
        let chunk = poll_fn(|cx| stream.poll_read_chunk(cx)).await?;
        if chunk.is_empty() {
            break;
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read)
}

async fn write(stream: &mut (impl Stream + ?Sized), bytes: &[u8]) -> io::Result<()> {
    let mut chunk = bytes::Bytes::copy_from_slice(bytes);
    while !chunk.is_empty() {
        poll_fn(|cx| stream.poll_write_chunk(cx, &mut chunk)).await?;
    }
    poll_fn(|cx| std::pin::Pin::new(&mut *stream).poll_flush(cx)).await
}

/// Connects both over a pipe; the server presents this. Both send `bytes` and read as many. Returns what each read.
fn talk(client: Tls, server: Tls, presented: Presented, bytes: &'static [u8]) -> [Result<Vec<u8>, String>; 2] {
    let network = Arc::new(Network::default());
    let world = network.host("client");
    network.run(async move {
        let (near, far) = tokio::io::duplex(10_000);
        let near: BoxStream = over(near);
        let far: BoxStream = over(far);
        let calling = async {
            let mut stream = match client.connect(&world, "server-0", near)? {
                Secured::Tls(stream) => stream,
                Secured::Plain(_) => unreachable!("the client has authorities"),
            };
            stream.handshake().await?;
            write(&mut *stream, bytes).await?;
            read(&mut *stream, bytes.len()).await
        };
        let serving = async {
            let mut stream = server.accept(&world, far, presented);
            let read = read(&mut *stream, bytes.len()).await?;
            write(&mut *stream, &read).await?;
            io::Result::Ok(read)
        };
        let (called, served) = join(calling, serving).await;
        [called, served].map(|end| end.map_err(|error| error.to_string()))
    })
}

#[test]
fn both_ends_read_what_the_other_has_written() {
    static BYTES: [u8; 300_000] = [7; 300_000];
    for mode in [TlsMode::Server, TlsMode::Mutual] {
        let run = certificates(mode);
        for name in ["server-0", "localhost", "127.0.0.1", "::1"] {
            let is_mutual = mode == TlsMode::Mutual;
            let ends = talk(client(&run, name), server(&run, is_mutual), Presented::Valid, &BYTES);
            assert!(ends.iter().all(|end| end.as_deref() == Ok(&BYTES[..])), "{mode:?} {name}");
        }
    }
}

#[test]
fn each_wrong_certificate_has_a_reason_that_does_not_depend_on_time() {
    let run = certificates(TlsMode::Server);
    let reason = |name: &str, presented| {
        let [called, served] = talk(client(&run, name), server(&run, false), presented, b"hello");
        assert!(served.unwrap_err().starts_with("the other end refuses it: "));
        called.unwrap_err()
    };
    assert_eq!(reason("server-0", Presented::Expired), "the certificate has expired");
    assert_eq!(reason("server-0", Presented::Untrusted), "the certificate's issuer is unknown");
    assert_eq!(reason("server-1", Presented::Valid), "the certificate is for another name");
}

#[test]
fn stand_ins_have_the_names_of_a_certificate_and_are_refused_for_their_time_or_their_authority() {
    let run = certificates(TlsMode::Server);
    let certificate = &run.servers[0][0].chain[0];
    let mut keys = 100..;
    let mut make = |certificate| stand_ins(certificate, NOW, || [keys.next().unwrap_or_default(); 32]);
    let stand_ins = make(certificate).unwrap();
    let names = parts(certificate).unwrap().names;
    for stand_in in &stand_ins {
        assert_eq!(parts(&stand_in.chain[0]).unwrap().names, names);
    }
    let [expired, untrusted] = stand_ins;
    let identities = [run.servers[0][0].clone(), expired, untrusted];
    let reason = |presented| {
        let accepting = Accepting { identities: identities.clone(), client_authorities: Vec::new() };
        let server = Tls::new(&sources(), None, Some(accepting)).unwrap();
        talk(client(&run, "server-0"), server, presented, b"hello")[0].clone().unwrap_err()
    };
    assert_eq!(reason(Presented::Expired), "the certificate has expired");
    assert_eq!(reason(Presented::Untrusted), "the certificate's issuer is unknown");
    assert!(make(&run.authority).is_none(), "an authority has no names");
    assert!(make(&CertificateDer::from(&b"text"[..])).is_none());
}

#[test]
fn a_client_without_a_certificate_is_refused_where_one_is_demanded() {
    let run = certificates(TlsMode::Server);
    let [called, served] = talk(client(&run, "server-0"), server(&run, true), Presented::Valid, b"hello");
    assert_eq!(called.unwrap_err(), "the other end refuses it: CertificateRequired");
    assert_eq!(served.unwrap_err(), "peer sent no certificates");
    // A certificate of another run is of an authority that the server does not know.
    let mut other = certificates(TlsMode::Mutual);
    other.authority = run.authority.clone();
    let another = RunCertificates::new(TlsMode::Mutual, ["server-0".to_owned()], NOW, || [99; 32]);
    other.client = another.client;
    let [called, served] = talk(client(&other, "server-0"), server(&run, true), Presented::Valid, b"hello");
    assert!(called.unwrap_err().starts_with("the other end refuses it: "));
    assert!(served.is_err());
}

#[test]
fn a_peer_that_does_not_speak_tls_is_said_to_not_speak_it() {
    let network = Arc::new(Network::default());
    let world = network.host("client");
    let run = certificates(TlsMode::Server);
    let server = server(&run, false);
    let client = client(&run, "server-0");
    let said = network.run(async move {
        let (near, far) = tokio::io::duplex(10_000);
        let mut near: BoxStream = over(near);
        let mut stream = server.accept(&world, over(far), Presented::Valid);
        write(&mut *near, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let served = read(&mut *stream, 1).await.unwrap_err().to_string();
        let (near, far) = tokio::io::duplex(10_000);
        let mut far: BoxStream = over(far);
        write(&mut *far, b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let Ok(Secured::Tls(mut stream)) = client.connect(&world, "server-0", over(near)) else { unreachable!() };
        [served, stream.handshake().await.unwrap_err().to_string()]
    });
    assert_eq!(said, ["the other end does not speak TLS"; 2]);
}

#[test]
fn a_peer_that_stalls_in_its_handshake_has_the_time_of_one_that_says_nothing() {
    const PATIENCE: Patience = Patience {
        handshake: Duration::from_secs(10),
        message: Duration::from_secs(60),
        idle: Duration::from_secs(900),
    };
    let network = Arc::new(Network::default());
    let run = certificates(TlsMode::Server);
    let limits = PeerLimits { connections: 8, held_bytes: 1 << 20, patience: Some(PATIENCE) };
    network.demand("server-0", PeerTerms { limits: Some(limits), token: None });
    let host = network.host_with_tls("server-0", Some(server(&run, false)));
    let recorder = Recorder::new(host.clone(), "server-0", Arc::<std::sync::Mutex<Records>>::default());
    let injector = Arc::new(Injector::new(Entropy::new(1)));
    let serving = host.clone();
    host.spawn(Box::pin(async move {
        serve(serving, recorder, "server-0", answering(0), injector, pending::<()>()).await.unwrap();
    }));
    let (world, client) = (network.host("client"), client(&run, "server-0"));
    let (closed, open) = network.run(async move {
        world.sleep_until(Instant::START + Duration::from_millis(1)).await;
        // A whole ClientHello, more than what an HTTP/2 connection begins with, and nothing after it.
        let (config, _) = client.connecting.as_ref().unwrap();
        let mut connection = ClientConnection::new(config.clone(), "server-0".try_into().unwrap()).unwrap();
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).unwrap();
        let mut stalled = world.connect("server-0").await.unwrap();
        write(&mut *stalled, &hello).await.unwrap();
        let stream = world.connect("server-0").await.unwrap();
        let Ok(Secured::Tls(mut greeted)) = client.connect(&world, "server-0", stream) else { unreachable!() };
        greeted.handshake().await.unwrap();
        // What HTTP/2 begins with: the preface and empty SETTINGS.
        write(&mut *greeted, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        read(&mut *stalled, usize::MAX).await.unwrap();
        let closed = world.now();
        (closed, timeout_at(&*world, closed + PATIENCE.message, read(&mut *greeted, usize::MAX)).await.is_err())
    });
    // Ticks of a second, the first beyond its time.
    assert_eq!(closed, Instant::START + Duration::from_secs(11));
    assert!(open, "one whose handshake is complete stays");
}

#[test]
fn a_certificate_that_fits_no_key_is_refused_at_once() {
    let run = certificates(TlsMode::Server);
    let [mut one, other, third] = run.servers[0].clone();
    one.key = other.key.clone_key();
    let refused =
        Tls::new(&sources(), None, Some(Accepting { identities: [one, other, third], client_authorities: Vec::new() }));
    assert!(matches!(refused.unwrap_err(), TlsError(Error::InconsistentKeys(_))));
}

#[test]
fn the_same_seeds_give_the_same_certificates() {
    let [one, other] = [(), ()].map(|()| certificates(TlsMode::Mutual));
    assert_eq!((&one.authority, &one.servers, &one.client), (&other.authority, &other.servers, &other.client));
    assert_ne!(one.servers[0][0], one.servers[0][1]);
    assert!(!format!("{one:?}").contains("key"), "keys are not shown");
}
