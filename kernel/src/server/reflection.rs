//! gRPC's server reflection (`grpc.reflection.v1`): callers without .proto files ask a server which services it has, and what their messages
//! look like. The older package `grpc.reflection.v1alpha`, which has the same messages, is answered, too.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `files` | the descriptors of .proto files, by their names and by the symbols in them |

mod files;

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
};

use futures_util::{Stream, StreamExt, stream};
use http::{Request, Uri, uri::PathAndQuery};
use tonic::{Response, Status, Streaming};

use self::files::Files;
use super::health::HealthService;
use crate::proto::reflection::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse, ServerReflectionRequest,
    ServerReflectionResponse, ServiceResponse, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse, server_reflection_server::ServerReflection,
};

/// The path of the method, in both packages.
const PATH: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const PATH_V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// Services that every server has, besides those that it is given.
const EVERYWHERE: [&str; 2] = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];

/// The descriptors of this project's own .proto files.
const OWN: &[u8] = include_bytes!("../../proto/generated/descriptors.bin");

/// The reflection service of one process. Clones share its descriptors.
#[derive(Debug, Clone)]
pub(super) struct Reflection {
    names: Arc<[&'static str]>,
    descriptors: Arc<Descriptors>,
    /// Its streams end when it stops.
    health: HealthService,
}

/// Encoded `FileDescriptorSet`s, which are read when somebody asks for the first time.
#[derive(Debug)]
struct Descriptors {
    sets: Vec<&'static [u8]>,
    files: OnceLock<Files>,
}

impl Reflection {
    /// Creates the service of a server with services of these names, whose .proto files are in the `descriptors`, each an encoded
    /// `FileDescriptorSet`. One that cannot be read is left out.
    pub(super) fn new(
        names: impl Iterator<Item = &'static str>,
        descriptors: &[&'static [u8]],
        health: HealthService,
    ) -> Self {
        let sets = [&[OWN], descriptors].concat();
        let descriptors = Arc::new(Descriptors { sets, files: OnceLock::new() });
        Self { names: names.chain(EVERYWHERE).collect(), descriptors, health }
    }

    fn files(&self) -> &Files {
        let Descriptors { sets, files } = &*self.descriptors;
        files.get_or_init(|| Files::new(sets.iter().copied()))
    }

    /// Returns true if requests with this path are for this service.
    pub(super) fn takes(path: &str) -> bool {
        [PATH, PATH_V1ALPHA].contains(&path)
    }

    /// Makes the path of `request`, which is for this service, that of the current package.
    pub(super) fn name_current_package<T>(request: &mut Request<T>) {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::from_static(PATH));
        // The parts of a URI with another path are a URI.
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or(Uri::from_static(PATH));
    }

    /// Returns why there is no file with `symbol`.
    fn missing(&self, symbol: &str) -> String {
        if self.names.contains(&symbol) {
            return format!("the server was not given the descriptors of `{symbol}` (`Services::described_by`)");
        }
        format!("no file has `{symbol}`")
    }

    fn answer(&self, request: ServerReflectionRequest) -> ServerReflectionResponse {
        let answer = match &request.message_request {
            None => Err("the request asks for nothing".to_owned()),
            Some(MessageRequest::ListServices(_)) => {
                let service = self.names.iter().map(|name| ServiceResponse { name: (*name).to_owned() }).collect();
                Ok(MessageResponse::ListServicesResponse(ListServiceResponse { service }))
            }
            Some(MessageRequest::FileByFilename(name)) => {
                found(self.files().by_name(name), || format!("there is no file `{name}`"))
            }
            Some(MessageRequest::FileContainingSymbol(symbol)) => {
                found(self.files().with_symbol(symbol), || self.missing(symbol))
            }
            Some(MessageRequest::FileContainingExtension(asked)) => {
                let message = &asked.containing_type;
                let number = asked.extension_number;
                let file = self.files().with_extension(message, number);
                found(file, || format!("no file has an extension {number} of `{message}`"))
            }
            Some(MessageRequest::AllExtensionNumbersOfType(message)) => match self.files().extensions_of(message) {
                Some(extension_number) => Ok(MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse {
                    base_type_name: message.clone(),
                    extension_number,
                })),
                None => Err(format!("there is no message `{message}`")),
            },
        };
        let answer = answer.unwrap_or_else(|error_message| {
            MessageResponse::ErrorResponse(ErrorResponse { error_code: tonic::Code::NotFound.into(), error_message })
        });
        ServerReflectionResponse {
            valid_host: request.host.clone(),
            original_request: Some(request),
            message_response: Some(answer),
        }
    }
}

/// Returns the answer with these files, if there are any, or else what is `missing`.
fn found(files: Option<Vec<bytes::Bytes>>, missing: impl FnOnce() -> String) -> Result<MessageResponse, String> {
    let file_descriptor_proto = files.ok_or_else(missing)?;
    Ok(MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto }))
}

#[tonic::async_trait]
impl ServerReflection for Reflection {
    type ServerReflectionInfoStream = Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;

    async fn server_reflection_info(
        &self,
        request: tonic::Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let service = self.clone();
        let answers = request.into_inner().map(move |request| Ok(service.answer(request?)));
        // An open stream would delay a graceful stop for ever.
        let stopped = self.health.stopped();
        Ok(Response::new(Box::pin(stream::StreamExt::take_until(answers, Box::pin(stopped)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reflection() -> Reflection {
        let health = HealthService::serving(std::iter::empty());
        Reflection::new(["rehearsal.v1.Rehearsal"].into_iter(), &[b"\xffno descriptors"], health)
    }

    fn answer(asked: MessageRequest) -> MessageResponse {
        let request = ServerReflectionRequest { host: "here".to_owned(), message_request: Some(asked) };
        let answer = reflection().answer(request.clone());
        assert_eq!((answer.valid_host.as_str(), answer.original_request), ("here", Some(request)));
        answer.message_response.unwrap()
    }

    fn error(asked: MessageRequest) -> String {
        match answer(asked) {
            MessageResponse::ErrorResponse(error) if error.error_code == 5 => error.error_message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn services_are_listed_with_those_that_every_server_has() {
        let MessageResponse::ListServicesResponse(list) = answer(MessageRequest::ListServices(String::new())) else {
            panic!("no list")
        };
        let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
        assert_eq!(names, [&["rehearsal.v1.Rehearsal"][..], &EVERYWHERE].concat());
    }

    #[test]
    fn files_are_found_by_name_and_by_symbol_and_what_is_missing_is_an_error() {
        let by_name = answer(MessageRequest::FileByFilename("rehearsal.proto".to_owned()));
        for symbol in [
            "rehearsal.v1.Rehearsal",
            "rehearsal.v1.Rehearsal.GetData",
            "rehearsal.v1.Image",
            "rehearsal.v1.Image.pixels",
        ] {
            assert_eq!(answer(MessageRequest::FileContainingSymbol(symbol.to_owned())), by_name, "{symbol}");
        }
        assert_eq!(error(MessageRequest::FileByFilename("x.proto".to_owned())), "there is no file `x.proto`");
        assert_eq!(error(MessageRequest::FileContainingSymbol("a.B".to_owned())), "no file has `a.B`");
        assert_eq!(error(MessageRequest::AllExtensionNumbersOfType("a.B".to_owned())), "there is no message `a.B`");
        let health = HealthService::serving(std::iter::empty());
        let bare = Reflection::new(["shop.v1.Stock"].into_iter(), &[], health);
        assert!(bare.missing("shop.v1.Stock").starts_with("the server was not given the descriptors"));
        let none = reflection().answer(ServerReflectionRequest::default());
        assert!(matches!(none.message_response, Some(MessageResponse::ErrorResponse(_))));
    }

    #[test]
    fn a_message_without_extensions_has_no_numbers() {
        let image = "rehearsal.v1.Image".to_owned();
        let MessageResponse::AllExtensionNumbersResponse(numbers) =
            answer(MessageRequest::AllExtensionNumbersOfType(image.clone()))
        else {
            panic!("no numbers")
        };
        assert_eq!((numbers.base_type_name, numbers.extension_number), (image, Vec::new()));
    }

    #[test]
    fn the_older_package_is_the_same_service() {
        for path in [PATH, PATH_V1ALPHA] {
            let mut request = Request::builder().uri(format!("http://here{path}")).body(()).unwrap();
            assert!(Reflection::takes(request.uri().path()));
            Reflection::name_current_package(&mut request);
            assert_eq!(request.uri().to_string(), format!("http://here{PATH}"));
        }
        assert!(!Reflection::takes("/grpc.reflection.v2.X/Y"));
    }
}
