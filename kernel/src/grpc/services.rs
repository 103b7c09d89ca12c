//! The gRPC services of one process, by the names in their paths.

use std::{convert::Infallible, fmt, future::poll_fn, sync::Arc};

use http::{HeaderMap, Request, Response, Uri};
use tonic::{Status, body::Body, server::NamedService};
use tower_service::Service;

use super::{Methods, Pieces, Shape, exchange::status_in};
use crate::{
    record::{CallId, Name},
    status::Code,
    world::BoxFuture,
};

/// The gRPC services of one process, by the names in their paths.
///
/// Any service that tonic generates, also one that streams, can be one of them, with interceptors and layers around it. The health service and the reflection
/// service are there without being added.
///
/// ```
/// use kernel::{grpc::Services, proto::health::health_server::{Health, HealthServer}};
///
/// fn services(of_a_user: impl Health) -> Services {
///     Services::default().with(HealthServer::new(of_a_user))
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Services {
    served: Vec<Arc<Served>>,
    descriptors: Vec<&'static [u8]>,
    methods: Methods,
}

/// One service of a process.
pub(crate) struct Served {
    name: &'static str,
    service: Box<dyn Answering>,
    /// True if a call whose caller has left runs to its end.
    pub(crate) runs_to_end: bool,
    /// Returns which call it is.
    pub(crate) identify: fn(&HeaderMap, &Pieces) -> CallId,
    /// The methods that occupy no worker.
    unqueued: &'static [&'static str],
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Served").field(&self.name).finish()
    }
}

impl Services {
    /// Adds `service` under its name. One that was added under this name before is replaced.
    #[must_use]
    pub fn with<S>(self, service: S) -> Self
    where
        S: NamedService + Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>,
        S: Clone + Send + Sync + 'static,
    {
        self.insert(Served::new(service))
    }

    /// Adds `service` as one of this project's own: its messages have the id of their request as the field 1, its calls run to their end
    /// if their caller leaves, and those of the methods `unqueued` occupy no worker.
    #[must_use]
    pub(crate) fn with_built_in<S>(self, service: S, unqueued: &'static [&'static str]) -> Self
    where
        S: NamedService + Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>,
        S: Clone + Send + Sync + 'static,
    {
        let identify = |_: &HeaderMap, message: &Pieces| CallId::of_request(super::first_number(message));
        self.insert(Served { runs_to_end: true, identify, unqueued, ..Served::new(service) })
    }

    /// Adds the descriptors of .proto files, with which the reflection service (`grpc.reflection.v1`) answers: an encoded
    /// `FileDescriptorSet` with all that the files import, such as `tonic_prost_build`'s `file_descriptor_set_path` writes.
    #[must_use]
    pub fn described_by(mut self, file_descriptor_set: &'static [u8]) -> Self {
        // One that cannot be read is left out by the reflection service, too.
        let _ = self.methods.describe(file_descriptor_set);
        self.descriptors.push(file_descriptor_set);
        self
    }

    /// Declares that `method`, such as `shop.v1.Stock/Watch`, has this shape. A method whose requests stream has to be declared here, by
    /// [`described_by`](Self::described_by) or by the app; replies may stream without.
    #[must_use]
    pub fn streaming(mut self, method: &str, shape: Shape) -> Self {
        self.methods.declare(method, shape);
        self
    }

    /// Adds the shapes of `methods`.
    pub(crate) fn with_methods(mut self, methods: &Methods) -> Self {
        self.methods.extend(methods);
        self
    }

    /// Returns the shape of the method at `path`.
    pub(crate) fn shape(&self, path: &str) -> Shape {
        self.methods.shape(path)
    }

    /// Returns the full name of the method at `path`, such as `shop.v1.Stock/Watch`.
    pub(crate) fn method(&self, path: &str) -> Name {
        self.methods.name(path)
    }

    /// Returns the descriptors, each an encoded `FileDescriptorSet`.
    pub(crate) fn descriptors(&self) -> &[&'static [u8]] {
        &self.descriptors
    }

    fn insert(mut self, served: Served) -> Self {
        self.served.retain(|other| other.name != served.name);
        self.served.push(Arc::new(served));
        self
    }

    /// Returns the names of the services.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.served.iter().map(|served| served.name)
    }

    /// Returns the service that a call of `path`, `/service/method`, is for.
    pub(crate) fn find(&self, path: &str) -> Option<&Arc<Served>> {
        let (name, _) = path.strip_prefix('/')?.split_once('/')?;
        self.served.iter().find(|served| served.name == name)
    }
}

impl<S> From<S> for Services
where
    S: NamedService + Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>,
    S: Clone + Send + Sync + 'static,
{
    /// Returns the one service.
    fn from(service: S) -> Self {
        Self::default().with(service)
    }
}

impl Served {
    /// Returns `service` as one of a user.
    fn new<S>(service: S) -> Self
    where
        S: NamedService + Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>,
        S: Clone + Send + Sync + 'static,
    {
        Self {
            name: S::NAME,
            service: Box::new(Shared(service)),
            runs_to_end: false,
            identify: |headers, _| id_of(headers),
            unqueued: &[],
        }
    }

    /// Returns whether a call of `path` occupies a worker.
    pub(crate) fn occupies_worker(&self, path: &str) -> bool {
        !self.unqueued.iter().any(|method| path.rsplit('/').next() == Some(method))
    }

    /// Answers `request`.
    pub(crate) fn answer(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        self.service.answer(request)
    }
}

/// The metadata that says which call it is: the number of its request, and its path if it is an inner call.
pub(crate) const CALL: &str = "rehearsal-call";

/// Returns the call that metadata name, or that of request 0 if they name none.
fn id_of(headers: &HeaderMap) -> CallId {
    let named = headers.get(CALL).and_then(|value| value.to_str().ok()?.parse().ok());
    named.unwrap_or(CallId::of_request(0))
}

/// A service of any type.
trait Answering: Send + Sync {
    fn answer(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>>;
}

/// A service whose clones share their state, as those of tonic do.
struct Shared<S>(S);

impl<S> Answering for Shared<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>,
    S: Clone + Send + Sync + 'static,
{
    fn answer(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let mut service = self.0.clone();
        let uri = request.uri().clone();
        Box::pin(async move {
            let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
            let Ok(mut response) = service.call(request).await;
            name_unknown_method(response.headers_mut(), &uri);
            response
        })
    }
}

/// Adds the method to the answer of a generated service that does not have it, which says only UNIMPLEMENTED.
fn name_unknown_method(headers: &mut HeaderMap, uri: &Uri) {
    let is_unknown = status_in(headers) == Some(Code::Unimplemented);
    if is_unknown && !headers.contains_key("grpc-message") {
        let status = Status::unimplemented(format!("the service has no method for `{}`", uri.path()));
        // The path of a request is valid as a header, so there is no error.
        let _ = status.add_header(headers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{health::health_server::HealthServer, rehearsal::rehearsal_server};

    /// A service of a user under another name.
    #[derive(Clone)]
    struct Named;

    impl NamedService for Named {
        const NAME: &'static str = "shop.v1.Stock";
    }

    impl Service<Request<Body>> for Named {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            std::future::ready(Ok(Response::new(Body::empty())))
        }
    }

    #[test]
    fn a_service_is_found_by_the_whole_name_in_a_path() {
        let services = Services::default().with(Named).with(Named);
        assert_eq!(services.names().collect::<Vec<_>>(), ["shop.v1.Stock"]);
        assert!(services.find("/shop.v1.Stock/Reserve").is_some());
        for path in ["shop.v1.Stock/Reserve", "/shop.v1.Stock", "/shop.v1.Stocks/Reserve", "/", "", "*"] {
            assert!(services.find(path).is_none(), "{path}");
        }
        assert_ne!(HealthServer::<()>::NAME, rehearsal_server::SERVICE_NAME);
    }

    #[test]
    fn an_answer_that_only_says_unimplemented_gets_the_path() {
        let answer = |headers: &[(&'static str, &'static str)]| {
            let pairs = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            let mut headers = HeaderMap::from_iter(pairs);
            name_unknown_method(&mut headers, &"http://a/shop.v1.Stock/Reserv".parse().unwrap());
            Status::from_header_map(&headers).map(|status| status.message().to_owned())
        };
        assert_eq!(answer(&[("grpc-status", "12")]).unwrap(), "the service has no method for `/shop.v1.Stock/Reserv`");
        assert_eq!(answer(&[("grpc-status", "12"), ("grpc-message", "later")]).unwrap(), "later");
        assert_eq!(answer(&[("grpc-status", "5")]).unwrap(), "");
        assert_eq!(answer(&[]), None);
    }

    #[test]
    fn a_method_that_occupies_no_worker_is_named_without_its_service() {
        let services = Services::default().with_built_in(Named, &["Watch"]);
        let served = services.find("/shop.v1.Stock/Watch").unwrap();
        assert!(!served.occupies_worker("/shop.v1.Stock/Watch"));
        assert!(served.occupies_worker("/shop.v1.Stock/Reserve"));
    }

    #[test]
    fn a_call_belongs_to_the_request_that_its_metadata_name() {
        for (value, id) in [("17", 17), ("x", 0), ("", 0), ("-1", 0)] {
            assert_eq!(
                id_of(&HeaderMap::from_iter([(CALL.parse().unwrap(), value.parse().unwrap())])),
                CallId::of_request(id)
            );
        }
        assert_eq!(id_of(&HeaderMap::new()), CallId::of_request(0));
    }
}
