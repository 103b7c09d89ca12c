//! Mistakes that are planted: each fails a scenario, with the command that plays it again.

use std::time::Duration;

use shop::{
    Warehouse,
    proto::{
        ReserveReply, ReserveRequest, TrackRequest,
        stock_server::{Stock, StockServer},
    },
    reserve,
};
use sim::{App, BoxError, Call, Host, Scenario, Services};
use tonic::{Request, Response, Status};

/// What a careless warehouse does wrong.
#[derive(Clone, Copy)]
enum Mistake {
    /// Every fiftieth order gets the reply of another one.
    WrongReply,
    /// Every fiftieth order waits for a lock that is never released.
    Waits,
    /// It panics at every fiftieth order.
    Panics,
    /// It sleeps on tokio's clock: a mistake on a runtime that processes share.
    TokioSleep,
    /// It spawns a task of tokio: a mistake there, too.
    TokioSpawn,
    /// It computes on a thread of tokio.
    TokioThread,
    /// It spawns a task that never waits.
    Spins,
}

struct Careless {
    warehouse: Warehouse,
    host: Host,
    mistake: Mistake,
}

#[allow(clippy::disallowed_methods, reason = "they are the mistakes")]
#[tonic::async_trait]
impl Stock for Careless {
    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<ReserveReply>, Status> {
        let order = request.get_ref().order;
        match self.mistake {
            Mistake::TokioSleep => tokio::time::sleep(Duration::from_millis(1)).await,
            Mistake::TokioSpawn => drop(tokio::spawn(std::future::pending::<()>())),
            Mistake::TokioThread => tokio::task::spawn_blocking(|| ()).await.expect("it does not panic"),
            Mistake::Spins => self.host.spawn(async {
                loop {
                    tokio::task::yield_now().await;
                }
            }),
            Mistake::Waits if order % 50 == 49 => self.host.sleep(Duration::from_secs(1_000)).await,
            Mistake::Panics if order % 50 == 49 => panic!("planted"),
            _ => {}
        }
        let mut reply = self.warehouse.reserve(request).await?;
        if matches!(self.mistake, Mistake::WrongReply) && order % 50 == 49 {
            reply.get_mut().order -= 1;
        }
        Ok(reply)
    }

    type TrackStream = <Warehouse as Stock>::TrackStream;

    async fn track(&self, request: Request<TrackRequest>) -> Result<Response<Self::TrackStream>, Status> {
        self.warehouse.track(request).await
    }
}

fn careless(mistake: Mistake) -> App {
    let service = move |host: Host| async move {
        let warehouse = Warehouse(host.clone());
        host.serve(StockServer::new(Careless { warehouse, host: host.clone(), mistake })).await
    };
    App::new().service("stock", service).load(reserve)
}

/// Makes a request of a load that sleeps on tokio's clock: a mistake on a runtime that processes share.
async fn hasty(call: Call) -> Result<(), BoxError> {
    tokio::time::sleep(Duration::from_millis(1)).await;
    reserve(call).await
}

/// Makes a request of a load that waits for a thread.
async fn forgetful(call: Call) -> Result<(), BoxError> {
    tokio::task::spawn_blocking(|| ()).await?;
    reserve(call).await
}

/// Returns the report of the scenario with these settings, which does not hold.
fn report(scenario: &str, settings: &[&str], app: &App) -> String {
    // Each in a folder of its own.
    let name = std::thread::current().name().expect("tests are named").replace("::", "_");
    let mut settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
    settings.push(format!("name=\"{name}\""));
    let file = format!("scenarios/{scenario}.toml");
    let scenario = Scenario::load(file.as_ref(), &settings).expect("it is a scenario");
    let report = sim::hold(&scenario, app, 0..20).expect_err("it does not hold").to_string();
    println!("{report}");
    assert!(report.contains("\n  replay  REHEARSAL_SEED="), "{report}");
    report
}

/// Checks that the report of a run names its folder, which has been kept.
fn has_folder(report: &str) {
    let folder = report.lines().find_map(|line| line.strip_prefix("  folder  ")).expect("it names the folder");
    assert!(std::path::Path::new(folder).join("run.json").is_file(), "{folder}");
    assert!(report.contains(&format!("\n  report  reports {folder}\n")), "{report}");
}

#[test]
fn a_wrong_reply_is_named_with_its_order() {
    let report = report("crash", &[], &careless(Mistake::WrongReply));
    assert!(report.starts_with("FAIL"), "{report}");
    assert!(report.contains("  24 wrong results, request 49 at "), "{report}");
    assert!(report.contains("this does not hold: the reply is for the order"), "{report}");
    has_folder(&report);
}

#[test]
fn a_missing_retry_loses_orders() {
    let report = report("crash", &["client.retry.max_attempts=1"], &shop::app());
    assert!(report.contains("✗ success_rate"), "{report}");
    has_folder(&report);
}

#[test]
fn a_forgotten_deadline_lets_orders_wait() {
    let settings = ["client.deadline=1h", "client.attempt_timeout=1h"];
    let report = report("crash", &settings, &careless(Mistake::Waits));
    assert!(report.contains("✗ latency_max"), "{report}");
    has_folder(&report);
}

#[test]
fn a_panic_is_an_internal_error_of_its_call() {
    let report = report("crash", &["client.retry.max_attempts=1"], &careless(Mistake::Panics));
    assert!(report.contains(" INTERNAL") && report.contains("✗ success_rate"), "{report}");
}

#[test]
fn what_a_simulation_cannot_play_is_an_error_with_the_remedy() {
    for (app, remedy) in [
        (careless(Mistake::TokioSleep).on_shared_runtime(), "use `host.sleep`"),
        (careless(Mistake::TokioSpawn).on_shared_runtime(), "use `host.spawn`"),
        (careless(Mistake::TokioThread).on_shared_runtime(), "use `host.compute`"),
        (careless(Mistake::TokioThread), "use `host.compute`"),
        (careless(Mistake::Spins).on_shared_runtime(), "a loop without an end needs a `host.sleep`"),
        (careless(Mistake::Spins), "a loop without an end needs a `host.sleep`"),
        (shop::app().on_shared_runtime().load(hasty), "use `host.sleep`"),
        (shop::app().load(forgetful), "use `host.compute`"),
    ] {
        let report = report("crash", &[], &app);
        assert!(report.contains(remedy), "{report}");
    }
}

#[test]
fn an_app_that_is_not_complete_says_what_is_missing() {
    let unserved = App::new().service("stock", |_| async { Ok::<_, Status>(()) }).load(reserve);
    assert!(report("crash", &[], &unserved).contains("it has to await `host.serve(…)`"));
    let silent = shop::app().load(|_| async { Ok(()) });
    assert!(report("crash", &[], &silent).contains("request 0 of the load: it makes no call"));
    let idle = App::new().service("stock", |_| async { Ok::<_, Status>(()) });
    assert!(report("crash", &[], &idle).contains("the app has no load"));
    assert!(report("crash", &[], &App::new()).contains("the app has no service"));
    let unknown = ["workload={ kind = \"app\" }"];
    let times = report("crash", &unknown, &shop::app());
    assert!(times.contains("`price` is computed at") && times.contains("--set workload.compute_time=1ms"), "{times}");
    let other = ["workload={ kind = \"backend\" }"];
    assert!(report("crash", &other, &shop::app()).contains("write kind = \"app\""));
}

#[test]
fn a_method_that_is_not_implemented_is_named() {
    let empty = App::new().service("stock", |host: Host| async move { host.serve(Services::default()).await });
    let report = report("crash", &[], &empty.load(reserve));
    assert!(report.contains("UNIMPLEMENTED"), "{report}");
    assert!(
        report.contains(
            "the first attempt failed: nothing here implements `/shop.v1.Stock/Reserve`: the server has no service"
        ),
        "{report}"
    );
}
