//! The service of the workloads as a server calls it.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use prost::Message as _;
use tonic::{Status, body::Body, server::NamedService};

use super::{
    rpc,
    service::{Service, occupancy, payload_bytes},
};
use crate::{
    grpc::{Pieces, Reply, collect},
    proto::rehearsal::{ProcessImageRequest, rehearsal_server::RehearsalServer},
    server::{MESSAGE_BYTES_MAX, encoded_reply},
    transport::LARGE,
    world::BoxFuture,
};

/// The header by which a request says that its message may be compressed.
const ENCODING: &str = "grpc-encoding";

/// The service of the workloads, and what tonic generates for it.
///
/// tonic serves all methods but the one for whole images. It would gather a message in a buffer, which copies each pixel once more, and
/// would make the buffer for a reply grow, which copies them again. What that method is not able to read is left to tonic, whose status says
/// what is wrong.
#[derive(Clone)]
pub(super) struct Server {
    service: Arc<Service>,
    generated: RehearsalServer<Service>,
}

impl Server {
    pub(super) fn new(service: Service) -> Self {
        let service = Arc::new(service);
        let generated = RehearsalServer::from_arc(service.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Self { service, generated }
    }

    /// Answers a call of the method for whole images.
    async fn process_image(mut self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let message = match collect(body).await {
            Ok(message) => message,
            Err(failed) => return Ok(failed.into_http()),
        };
        let Some(request) = decode(&message) else {
            let request = Request::from_parts(head, Body::new(message));
            return tower_service::Service::call(&mut self.generated, request).await;
        };
        drop(message);
        let occupancy = occupancy(&head.extensions);
        drop(head);
        let answered = async {
            let reply = self.service.image(&occupancy?, request).await?;
            let length = reply.encoded_len();
            if length > MESSAGE_BYTES_MAX {
                return Err(Status::out_of_range(format!(
                    "a reply of {length} bytes; the limit is {MESSAGE_BYTES_MAX}"
                )));
            }
            Ok(encoded_reply(Reply::of_message(&reply).into_answer(), payload_bytes(&reply)))
        };
        Ok(answered.await.unwrap_or_else(Status::into_http))
    }
}

/// Decodes a message; `None` if it is compressed, or no such message. The pixels of a large one are a part of the buffer that its connection
/// has read them into, most of which they are; a small one is copied, so that the buffer can be used again.
fn decode(message: &Pieces) -> Option<ProcessImageRequest> {
    if message.flag() != 0 {
        return None;
    }
    let bytes = message.message();
    let decoded =
        if bytes.len() < LARGE { ProcessImageRequest::decode(&bytes[..]) } else { ProcessImageRequest::decode(bytes) };
    decoded.ok()
}

impl NamedService for Server {
    const NAME: &'static str = <RehearsalServer<Service> as NamedService>::NAME;
}

impl tower_service::Service<Request<Body>> for Server {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path() == rpc::PROCESS_IMAGE && !request.headers().contains_key(ENCODING) {
            return Box::pin(self.clone().process_image(request));
        }
        self.generated.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::rehearsal::Image;

    /// Returns `message` as the one piece of a body, with this flag.
    fn pieces_of(flag: u8, message: &ProcessImageRequest) -> Pieces {
        let bytes = message.encode_to_vec();
        Pieces::from(bytes::Bytes::from([&[flag][..], &(bytes.len() as u32).to_be_bytes(), &bytes].concat()))
    }

    fn request(pixels: usize) -> ProcessImageRequest {
        let image = Image { width: pixels as u32, height: 1, pixels: vec![7; pixels].into() };
        ProcessImageRequest { request_id: 5, image: Some(image) }
    }

    #[test]
    fn a_large_message_is_decoded_in_place_and_a_small_one_is_copied() {
        for (pixels, is_in_place) in [(LARGE, true), (LARGE / 2, false), (0, false)] {
            let message = pieces_of(0, &request(pixels));
            let decoded = decode(&message).unwrap();
            assert_eq!(decoded, request(pixels));
            let (whole, part) = (message.message(), decoded.image.unwrap().pixels);
            assert_eq!(whole.as_ptr_range().contains(&part.as_ptr()), is_in_place, "{pixels}");
        }
    }

    #[test]
    fn what_is_compressed_or_no_such_message_is_left_to_tonic() {
        assert!(decode(&pieces_of(1, &request(10))).is_none());
        assert!(decode(&Pieces::from(bytes::Bytes::from_static(&[0, 0, 0, 0, 1, 0xff]))).is_none());
    }
}
