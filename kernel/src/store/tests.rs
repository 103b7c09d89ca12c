//! A client and a store: our own, and ones that hang, refuse, answer something else, or end.

use std::{future::poll_fn, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Login, NAME, Store, StoreAccess, StoreAddress, StoreSettings, serve};
use crate::{
    client::{
        Client, Request, Response,
        settings::{Client as Settings, Retry},
    },
    entropy::Entropy,
    fuzzing::network::{Service, answering, at, failing_all, plain},
    grpc::Reply,
    link::{Link, LinkShape, Shape},
    policy::{Cache, CacheKey, Fallback, FallbackKind, Policies},
    proto::rehearsal::GetDataReply,
    record::{Answer, Event},
    server::Injection,
    status::{Code, Outcome},
    time::Instant,
    workload::{Input, rpc},
    world::BoxStream,
};

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A service with a store, whose client reaches it by `link`.
struct Setting {
    service: Service,
    link: Arc<Link>,
}

impl Setting {
    fn new() -> Self {
        let service = Service::new(1);
        let link = Link::new(service.world.clone(), Entropy::new(1), NAME);
        Self { service, link }
    }

    /// Starts the store, for as long as the test lasts.
    fn serve(self) -> Self {
        let world = self.service.network.host(NAME);
        self.service.world.spawn(Box::pin(async move { serve(world, 10).await.expect("it can listen") }));
        self
    }

    /// Starts a peer in place of the store, which answers whatever arrives on a connection with `answer`, once.
    fn answer_with(self, answer: &'static [u8]) -> Self {
        let world = self.service.network.host(NAME);
        self.service.world.spawn(Box::pin(async move {
            let mut listener = world.listen().await.expect("it listens");
            let mut open: Vec<BoxStream> = Vec::new();
            loop {
                let mut stream = listener.accept().await.expect("it accepts");
                let _ = poll_fn(|cx| stream.poll_read_chunk(cx)).await;
                let mut bytes = Bytes::from_static(answer);
                while !bytes.is_empty() {
                    poll_fn(|cx| stream.poll_write_chunk(cx, &mut bytes)).await.expect("it writes");
                }
                open.push(stream);
            }
        }));
        self
    }

    fn access(&self) -> StoreAccess {
        StoreAccess { link: self.link.clone(), prefix: "test:".to_owned(), login: None }
    }

    fn store(&self, login: Option<Login>) -> Arc<Store> {
        let settings =
            StoreSettings { database: 3, timeout: millis(50), pause: millis(1_000), keep: Duration::from_secs(60) };
        let access = StoreAccess { login, ..self.access() };
        Arc::new(Store::new(self.service.world.clone(), self.service.recorder(), access, settings))
    }

    /// Starts a client whose answers are fresh for 100 ms and stale for 100 ms more, and then for a fallback.
    fn client(&self) -> Client {
        let cache = Cache {
            ttl: millis(100),
            stale_while_revalidate: millis(100),
            store: Some(StoreAddress::Builtin),
            ..Cache::default()
        };
        let fallback = Fallback { kind: FallbackKind::Stale, ..Fallback::default() };
        let policies = Policies { cache: Some(cache), fallback: Some(fallback), ..Policies::default() };
        let settings = Settings { policies, retry: Retry { max_attempts: 1, ..Retry::default() }, ..plain() };
        let Service { world, links, .. } = &self.service;
        let reached = (links.as_slice(), Some(self.access()));
        Client::start_with_store(world.clone(), Entropy::new(1), self.service.recorder(), settings, reached)
    }

    /// Makes calls at these milliseconds and returns, of each, the millisecond of its end, its outcome, the source of its answer and its
    /// attempts.
    fn play(&self, calls: &[u64]) -> Vec<(u64, Outcome, Option<Answer>, u32)> {
        self.service.serve(0, answering(20), Instant::NEVER);
        let client = self.client();
        let calls = (0..).zip(calls).map(|(id, millis)| {
            let client = client.clone();
            let world = self.service.world.clone();
            let begin = at(*millis);
            async move {
                world.sleep_until(begin).await;
                let response = client.call(Request { id, message: rpc::message(id, &Input::Data) }).await;
                let Response { outcome, answer, attempts, .. } = response;
                (world.now().since(at(0)).as_millis() as u64, outcome, answer, attempts)
            }
        });
        self.service.network.run(futures_util::future::join_all(calls.collect::<Vec<_>>()))
    }

    /// Does `what` at this millisecond.
    fn at(&self, millis: u64, what: impl FnOnce() + Send + 'static) {
        let world = self.service.world.clone();
        self.service.world.spawn(Box::pin(async move {
            world.sleep_until(at(millis)).await;
            what();
        }));
    }

    fn causes(&self, event: Event) -> Vec<String> {
        self.service.events(event).into_iter().map(|row| row.cause.unwrap_or_default()).collect()
    }
}

fn key(byte: u8) -> CacheKey {
    CacheKey { path: Bytes::from_static(b"/a/b"), numbers: [0; 4], bytes: vec![byte].into() }
}

fn reply() -> Reply {
    Reply::of_message(&GetDataReply { data: b"data".to_vec().into(), served_by: None })
}

#[test]
fn an_answer_is_fresh_then_stale_then_for_a_fallback_only_as_in_memory() {
    let setting = Setting::new().serve();
    let injector = setting.service.injectors[0].clone();
    setting.at(250, move || injector.set(failing_all(Code::Unavailable)));
    let injector = setting.service.injectors[0].clone();
    setting.at(450, move || injector.set(Injection::default()));
    let seen = setting.play(&[0, 119, 121, 145, 400, 500]);
    let expected = [
        (20, Outcome::OK, None, 1),
        (119, Outcome::OK, Some(Answer::Cached), 0),
        (121, Outcome::Degraded, Some(Answer::Stale), 0),
        // The call before has renewed it.
        (145, Outcome::OK, Some(Answer::Cached), 0),
        // The backend is down, and the answer is too old but for a fallback.
        (400, Outcome::Degraded, Some(Answer::Stale), 1),
        (520, Outcome::OK, None, 1),
    ];
    assert_eq!(seen, expected);
    assert_eq!(setting.causes(Event::StoreFailed), Vec::<String>::new());
}

#[test]
fn a_store_that_is_away_costs_one_call_per_pause_its_time_and_is_used_when_it_is_back() {
    let setting = Setting::new().serve();
    let cut = setting.link.clone();
    setting.at(200, move || cut.set_shape(Shape { cut_to: true, cut_from: true, ..Shape::default() }));
    let healed = setting.link.clone();
    setting.at(1_500, move || healed.set_shape(LinkShape::default()));
    let seen = setting.play(&[0, 300, 400, 1_340, 1_400, 2_600, 2_650]);
    let ends: Vec<_> = seen.iter().map(|call| (call.0, call.2)).collect();
    let expected = [
        (20, None),
        (370, None),
        (420, None),
        (1_360, None),
        (1_420, None),
        (2_620, None),
        (2_650, Some(Answer::Cached)),
    ];
    assert_eq!(ends, expected, "300 has waited for the store; at 1360 a write has tried it, and 1400 has not waited");
    assert!(seen.iter().all(|call| call.1 == Outcome::OK), "no call fails because of the store");
    assert_eq!(setting.causes(Event::StoreLost), ["no answer in time"]);
    assert_eq!(setting.causes(Event::StoreFailed), ["no answer in time"; 2]);
    assert_eq!(setting.service.events(Event::StoreRestored).len(), 1);
}

#[test]
fn a_store_that_is_not_there_is_noticed_at_once_and_no_call_fails() {
    let setting = Setting::new();
    let seen = setting.play(&[0, 100, 1_500]);
    let ends: Vec<_> = seen.iter().map(|call| (call.0, call.1, call.3)).collect();
    assert_eq!(ends, [(20, Outcome::OK, 1), (120, Outcome::OK, 1), (1_520, Outcome::OK, 1)]);
    assert_eq!(setting.causes(Event::StoreLost), ["connection refused"]);
    assert_eq!(setting.causes(Event::StoreFailed), ["connection refused"; 2], "once for each pause");
}

#[test]
fn what_is_no_answer_counts_as_a_miss() {
    for (answer, cause) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "what it sent is not the protocol of Redis"),
        (b"$5\r\nhello\r\n", "its value is no answer"),
        (b"+OK\r\n", "its answer is none to a look-up"),
        (
            b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
            "answered with an error: OOM command not allowed",
        ),
        (b"*1\r\n$1\r\na\r\n", "what it sent is a list that is too long"),
        (b"$9999999999\r\n", "what it sent is a bulk string that is too long"),
        (b"$5\r\nhel", "no answer in time"),
    ] {
        let setting = Setting::new().answer_with(answer);
        let seen = setting.play(&[0]);
        assert_eq!((seen[0].1, seen[0].3), (Outcome::OK, 1), "{cause}");
        let causes = setting.causes(Event::StoreFailed);
        assert!(causes.iter().any(|found| found.starts_with(cause)), "{cause}: {causes:?}");
    }
}

#[test]
fn an_error_does_not_make_the_store_away() {
    let setting = Setting::new().answer_with(b"-LOADING Redis is loading the dataset in memory\r\n");
    setting.play(&[0]);
    assert_eq!(setting.causes(Event::StoreLost), Vec::<String>::new());
}

#[test]
fn clients_share_answers_by_prefix_and_a_login_and_a_database_come_first() {
    let setting = Setting::new().serve();
    let login = Login { user: Some("me".to_owned()), password: "secret".to_owned() };
    assert!(!format!("{login:?}").contains("secret"));
    let [one, same] = [Some(login), None].map(|login| setting.store(login));
    let access = StoreAccess { prefix: "other:".to_owned(), ..setting.access() };
    let settings = StoreSettings { database: 3, timeout: millis(50), pause: millis(1_000), keep: millis(60_000) };
    let other = Arc::new(Store::new(setting.service.world.clone(), setting.service.recorder(), access, settings));
    let world = setting.service.world.clone();
    let found = setting.service.network.run(async move {
        one.keep(&key(1), &reply(), 0);
        world.sleep_until(world.now() + millis(10)).await;
        let mut found = Vec::new();
        for (store, byte) in [(&one, 1), (&same, 1), (&same, 2), (&other, 1)] {
            found.push(store.look_up(&key(byte), 0, Instant::NEVER).await.map(|found| found.entry.reply));
        }
        found
    });
    assert_eq!(found, [Some(reply()), Some(reply()), None, None]);
}

#[test]
fn a_login_that_is_refused_is_a_store_that_is_away() {
    let setting = Setting::new().answer_with(b"-WRONGPASS invalid username-password pair\r\n");
    let store = setting.store(Some(Login { user: None, password: "wrong".to_owned() }));
    let found = setting.service.network.run(async move { store.look_up(&key(1), 0, Instant::NEVER).await });
    assert_eq!(found, None);
    let cause = setting.causes(Event::StoreLost);
    assert!(cause[0].starts_with("refused: WRONGPASS"), "{cause:?}");
}

#[test]
fn commands_are_pipelined_and_one_beyond_those_that_may_wait_fails_at_once() {
    let setting = Setting::new().serve();
    let store = setting.store(None);
    let world = setting.service.world.clone();
    let (found, elapsed) = setting.service.network.run(async move {
        store.keep(&key(1), &reply(), 0);
        world.sleep_until(world.now() + millis(10)).await;
        let begun = world.now();
        let key = key(1);
        let all = (0..1_100).map(|request| store.look_up(&key, request, Instant::NEVER));
        let found = futures_util::future::join_all(all).await;
        (found.into_iter().filter(Option::is_some).count(), world.now().since(begun))
    });
    assert_eq!((found, elapsed), (1_024, Duration::ZERO));
    assert_eq!(setting.causes(Event::StoreFailed), ["too many commands wait"; 76]);
}

#[test]
fn a_look_up_leaves_a_call_half_of_its_time() {
    let setting = Setting::new().answer_with(b"");
    let store = setting.store(None);
    let world = setting.service.world.clone();
    let ended = setting.service.network.run(async move {
        let begun = world.now();
        store.look_up(&key(1), 0, begun + millis(5)).await;
        world.now().since(begun)
    });
    assert_eq!(ended, millis(5) / 2, "the call has half of its time left");
    assert_eq!(setting.causes(Event::StoreLost), ["no answer in time"]);
}

#[test]
fn a_renewal_is_left_to_one_call() {
    let setting = Setting::new().serve();
    let store = setting.store(None);
    assert_eq!(
        [store.begin_renewal(&key(1)), store.begin_renewal(&key(1)), store.begin_renewal(&key(2))],
        [true, false, true]
    );
    store.end_renewal(&key(1));
    assert!(store.begin_renewal(&key(1)));
    let world = setting.service.world.clone();
    let again = setting.service.network.run(async move {
        store.keep(&key(1), &reply(), 0);
        world.sleep_until(world.now() + millis(10)).await;
        store.begin_renewal(&key(1))
    });
    assert!(again, "it has ended with the write");
}
