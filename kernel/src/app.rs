//! Apps: services and a load of a user, played in both worlds.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `host` | [`Host`], which the code of a process is given: time, computing, tasks, randomness, serving |
//! | `call` | [`Call`], one request of the load: the channel to the service, and checks of the reply |
//! | `callee` | [`Callee`], a service that a process calls, with the links to it and the policies |
//! | `connector` | [`Connector`], by which a client stack of the load's own connects to the service |
//! | `sometimes` | the macro [`sometimes!`](crate::sometimes), which notes that a state was reached |
//! | `requests` | `AppRequests`, by which the load generator makes the calls of an app |

mod call;
mod callee;
mod connector;
mod host;
mod requests;
mod sometimes;
#[cfg(test)]
mod tests;

use std::{
    error::Error,
    fmt, io,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
};

use futures_util::FutureExt;

use crate::{
    client,
    entropy::Entropy,
    grpc::{Methods, Shape},
    link::Link,
    load::Requests,
    record::Recorder,
    scenario::Scenario,
    server::{Injector, ReplicaSettings},
    workload::settings::Workload,
    world::{BoxFuture, SharedWorld},
};

pub use call::Call;
pub use callee::{Callee, NoEdge};
pub use connector::{Connector, NoConnector};
pub use host::{Host, ServeError};
use requests::AppRequests;

/// Any error of a user's code.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The code of a process of a service.
type Software = Arc<dyn Fn(Host) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

/// The code of a request of the load.
type Load = Arc<dyn Fn(Call) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

/// Begins the load of a run, given the host of the load.
type BeginLoad = Arc<dyn Fn(Host) -> Result<Load, BoxError> + Send + Sync>;

/// The app of this program; `None` if it plays the workloads of this project.
static OF_PROGRAM: OnceLock<Option<App>> = OnceLock::new();

/// A user's services, and the load that calls one of them. A scenario with `workload.kind = "app"` plays it: its `[servers]` are processes of
/// the service, and each request of its `[load]` is one call. An app with several services is played by scenarios whose `[[service]]` tables name
/// them, and whose `[[edge]]` tables say which calls which ([`Host::channel`]).
///
/// ```
/// use kernel::{
///     app::{App, Call, Host},
///     proto::rehearsal::{GetDataRequest, rehearsal_client::RehearsalClient, rehearsal_server::{Rehearsal, RehearsalServer}},
/// };
///
/// fn app<S: Rehearsal>(stock: fn(Host) -> S) -> App {
///     App::new()
///         .service("stock", move |host| async move { host.serve(RehearsalServer::new(stock(host.clone()))).await })
///         .load(|call: Call| async move {
///             let request = GetDataRequest { request_id: call.id() };
///             let reply = RehearsalClient::new(call.channel()).get_data(request).await?.into_inner();
///             call.check(!reply.data.is_empty(), "the reply has data");
///             Ok(())
///         })
/// }
/// ```
#[derive(Clone, Default)]
pub struct App {
    services: Vec<(String, Software)>,
    load: Option<BeginLoad>,
    /// The processes of its services and of its load keep to [`Host`].
    shares_runtime: bool,
    methods: Methods,
    descriptors: Vec<&'static [u8]>,
    /// Why a set of descriptors cannot be used.
    wrong_descriptors: Option<String>,
}

/// An app that cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// It has no service.
    #[error("the app has no service; add it with `App::service`")]
    NoService,
    /// It has more than one service, and the scenario does not say how many processes each has.
    #[error(
        "the app has the services {0}, and the scenario has no [[service]] tables; add one for each, with its `name` and `replicas`, and an [[edge]] \
         for each call: from = \"client\" for the load's"
    )]
    SeveralServices(String),
    /// The scenario has a service that the app does not have.
    #[error(
        "the scenario has the service `{0}`, and the app has {1}; correct `name` in [[service]], or add it with `App::service`"
    )]
    UnknownService(String, String),
    /// The app has a service that the scenario does not have.
    #[error(
        "the app has the service `{0}`, and the scenario has no [[service]] of that name; add one, and an [[edge]] to it"
    )]
    UnplayedService(String),
    /// A set of descriptors cannot be read.
    #[error("what `App::described_by` was given is no FileDescriptorSet: {0}")]
    Descriptors(String),
    /// It has no load.
    #[error("the app has no load; add it with `App::load`")]
    NoLoad,
    /// The scenario has another workload.
    #[error("this program plays an app, and the scenario's [workload] has kind = \"{0}\"; write kind = \"app\"")]
    OtherWorkload(&'static str),
    /// The scenario is of an app, and this program has none.
    #[error(
        "the scenario's [workload] has kind = \"app\", and this program has no app; play it with the program of the app, whose `main` calls \
             `sim::main(app)` or `real::main(app)`"
    )]
    NoApp,
}

/// A process of a service: where it runs, and what it is given.
pub struct Process {
    /// Its time, network and tasks.
    pub world: SharedWorld,
    /// Records its events, under its name.
    pub recorder: Recorder,
    /// Its name, such as `server-0`.
    pub name: String,
    /// The settings of its server.
    pub settings: ReplicaSettings,
    /// The faults of its server.
    pub injector: Arc<Injector>,
    /// The services that it calls.
    pub callees: Vec<Callee>,
}

/// Why an app does not hold what a scenario expects. `Debug` writes the same as `Display`, so that a test that returns it shows the report.
#[derive(thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A service that failed, panicked, or did not serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the service `{service}` of {process} {why}")]
pub struct ServiceError {
    /// The name of the service.
    pub service: String,
    /// The name of its process.
    pub process: String,
    /// The mistake, and the remedy.
    pub why: String,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<_> = self.services.iter().map(|(name, _)| name).collect();
        f.debug_struct("App").field("services", &services).field("has_load", &self.load.is_some()).finish()
    }
}

impl App {
    /// Creates an app without a service and without a load.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the app that this program plays; `None` if it plays the workloads of this project. Of several calls the first one counts: a
    /// process is one program.
    pub fn set_for_program(app: Option<Self>) {
        OF_PROGRAM.get_or_init(|| app);
    }

    /// Returns the app that this program plays.
    pub fn of_program() -> Option<&'static Self> {
        OF_PROGRAM.get().and_then(Option::as_ref)
    }

    /// Adds the service called `name`. `software` is called for each of its processes, also for one that replaces another, and the
    /// process ends with the future that it returns, which awaits [`Host::serve`].
    ///
    /// State of a process belongs into `software`. What is created outside of it is shared by all processes of all runs in a simulation,
    /// and by none of them in the real world.
    #[must_use]
    pub fn service<F, E>(
        mut self,
        name: impl Into<String>,
        software: impl Fn(Host) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let software: Software = Arc::new(move |host| {
            let running = software(host);
            Box::pin(async move { running.await.map_err(Into::into) })
        });
        self.services.push((name.into(), software));
        self
    }

    /// Declares that the code of the services and of the load keeps to [`Host`], and neither sleeps, spawns nor times out with tokio.
    ///
    /// By default each process, that of the load included, has a tokio runtime of its own in a simulation, as in the real world, and may use
    /// all of tokio but its threads and sockets. Processes that share a runtime take fewer turns there; a sleep or a task of tokio ends
    /// their run with a message. The real world does not change by it.
    #[must_use]
    pub fn on_shared_runtime(mut self) -> Self {
        self.shares_runtime = true;
        self
    }

    /// Returns whether it has more than one service.
    pub fn has_several_services(&self) -> bool {
        self.services.len() > 1
    }

    /// Returns whether each process, that of the load included, has a tokio runtime of its own in a simulation.
    pub fn has_own_runtime(&self) -> bool {
        !self.shares_runtime
    }

    /// Declares that `method`, such as `shop.v1.Stock/Watch`, has this shape, for its callers and its servers. A method that is declared
    /// nowhere is unary.
    #[must_use]
    pub fn streaming(mut self, method: &str, shape: Shape) -> Self {
        self.methods.declare(method, shape);
        self
    }

    /// Declares the methods in an encoded `FileDescriptorSet`, such as `tonic_prost_build`'s `file_descriptor_set_path` writes, with the
    /// shapes that they have there. The reflection service of each process answers with it, too.
    #[must_use]
    pub fn described_by(mut self, file_descriptor_set: &'static [u8]) -> Self {
        match self.methods.describe(file_descriptor_set) {
            Ok(()) => self.descriptors.push(file_descriptor_set),
            Err(error) => drop(self.wrong_descriptors.get_or_insert(error.to_string())),
        }
        self
    }

    /// Sets what a request of the load does: it makes one call through [`Call::channel`] and checks the reply.
    ///
    /// An error after a call that failed is that of the call. An error after a call that succeeded is a wrong result, which fails the run
    /// as a failed [`Call::check`] does.
    #[must_use]
    pub fn load<F>(mut self, load: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let load: Load = Arc::new(move |call| Box::pin(load(call)));
        self.load = Some(Arc::new(move |_| Ok(load.clone())));
        self
    }

    /// Sets what a request of the load does, as [`load`](Self::load) does, with state of the run: `begin` is called once in each run, before
    /// its first request, with the host of the load, and returns what a request does. An error of it ends the run.
    ///
    /// State such as a client stack belongs into `begin`: what is created outside of it is shared by all runs of a simulation.
    ///
    /// ```
    /// use kernel::app::{App, Call};
    ///
    /// let app = App::new().load_with(|host| {
    ///     let connector = host.connector("stock", 0)?;
    ///     Ok(move |call: Call| {
    ///         let connector = connector.clone();
    ///         async move { Err(format!("{call:?} is not made over {connector:?}").into()) }
    ///     })
    /// });
    /// ```
    #[must_use]
    pub fn load_with<L, F>(mut self, begin: impl Fn(Host) -> Result<L, BoxError> + Send + Sync + 'static) -> Self
    where
        L: Fn(Call) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.load = Some(Arc::new(move |host| {
            let load = begin(host)?;
            Ok(Arc::new(move |call| Box::pin(load(call))))
        }));
        self
    }

    /// Returns the app that plays `scenario`: `app` if its workload is of that kind, and otherwise none.
    ///
    /// # Errors
    ///
    /// Returns an error if the workload is an app and there is none that is complete and has the services of the scenario, or if there is an app
    /// and the workload is none.
    pub fn for_scenario<'a>(app: Option<&'a Self>, scenario: &Scenario) -> Result<Option<&'a Self>, AppError> {
        match (app, &scenario.workload) {
            (None, Workload::App(_)) => Err(AppError::NoApp),
            (None, _) => Ok(None),
            (Some(app), Workload::App(_)) => app.complete(scenario).map(Some),
            (Some(_), other) => Err(AppError::OtherWorkload(other.name())),
        }
    }

    fn complete(&self, scenario: &Scenario) -> Result<&Self, AppError> {
        if let Some(wrong) = &self.wrong_descriptors {
            return Err(AppError::Descriptors(wrong.clone()));
        }
        if self.services.is_empty() {
            return Err(AppError::NoService);
        }
        if self.load.is_none() {
            return Err(AppError::NoLoad);
        }
        let names: Vec<_> = self.services.iter().map(|(name, _)| format!("`{name}`")).collect();
        let names = names.join(", ");
        if !scenario.has_services() {
            return if self.services.len() == 1 { Ok(self) } else { Err(AppError::SeveralServices(names)) };
        }
        let is_of_app = |name: &str| self.services.iter().any(|(own, _)| own == name);
        if let Some(unknown) = scenario.services.iter().find(|service| !is_of_app(&service.name)) {
            return Err(AppError::UnknownService(unknown.name.clone(), names));
        }
        let is_played = |name: &str| scenario.services.iter().any(|service| service.name == name);
        match self.services.iter().find(|(name, _)| !is_played(name)) {
            Some((name, _)) => Err(AppError::UnplayedService(name.clone())),
            None => Ok(self),
        }
    }

    /// Returns the settings of the load's client: servers are asked for the health of the server as a whole, unless the settings name a
    /// service, as each app has services of its own.
    pub fn client_settings(mut settings: client::settings::Client) -> client::settings::Client {
        if let Some(check) = &mut settings.health_check {
            check.service.get_or_insert_default();
        }
        settings
    }

    /// Runs `process` of the service called `service`, or of the only one, until `stop` completes and the calls under way have ended.
    ///
    /// # Errors
    ///
    /// Returns a [`ServiceError`] within the error if the service fails, panics, or ends without having served.
    pub async fn serve(
        &self,
        process: Process,
        service: Option<&str>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let mut services = self.services.iter();
        let Some((service, software)) = services.find(|(name, _)| service.is_none_or(|service| service == name)) else {
            return Err(io::Error::other(AppError::NoService));
        };
        let name = process.name.clone();
        let host = Host::of_service(process, service, (&self.methods, &self.descriptors), Box::pin(stop));
        let running = AssertUnwindSafe(async { software(host.clone()).await });
        let ended = running.catch_unwind().await;
        let why = match ended {
            // The panic hook has printed where it happened and why.
            Err(_) => "panicked; the standard error of its process says where".to_owned(),
            Ok(Err(error)) => format!("failed: {error}"),
            Ok(Ok(())) if !host.has_served() => {
                "ended without having served; it has to await `host.serve(…)`".to_owned()
            }
            Ok(Ok(())) => return Ok(()),
        };
        Err(io::Error::other(ServiceError { service: service.clone(), process: name, why }))
    }

    /// Returns the requests of the load of `scenario`, made by `world`, the host of the load generator, which has these `links` to the replicas
    /// that it calls.
    ///
    /// # Panics
    ///
    /// Panics if the app is not complete; see [`for_scenario`](Self::for_scenario).
    pub fn requests(
        &self,
        world: SharedWorld,
        recorder: Recorder,
        entropy: Entropy,
        scenario: &Scenario,
        links: &[Arc<Link>],
    ) -> Arc<dyn Requests> {
        let begin = self.load.as_ref().expect("the app was checked to be complete");
        let (only, _) = self.services.first().expect("the app was checked to be complete");
        let service = scenario.services.first().map_or(only, |entry| &entry.name);
        let callee = Callee::of_load(service, links.to_vec());
        let host = Host::of_load(world, recorder, entropy, callee, &self.methods);
        let kinds = &scenario.load.request;
        let load = begin(host.clone()).map_err(|error| error.to_string());
        Arc::new(AppRequests::new(load, host, entropy, kinds, Arc::new(self.methods.clone())))
    }
}
