//! A call or an attempt as metrics count it: the bytes of its messages, and how it ends.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tonic::{Status, body::Body};

use super::{CountedBody, MessageCount};
use crate::{
    record::{CallMoment, MessageBytes, Name, Recorder},
    status::Code,
    time::Instant,
};

/// A request and its reply, which are counted. It ends once: with a status, with the failure that it meets, or when it is dropped. Then
/// it was cancelled, or its time is over.
pub(crate) struct Exchange {
    recorder: Recorder,
    side: Side,
    /// The end of its time.
    deadline: Instant,
    request: RequestBytes,
    reply: MessageCount,
    has_ended: bool,
}

/// The side that counts.
pub(crate) enum Side {
    /// A server counts a call.
    Server {
        /// The full name of its method.
        method: Name,
        /// The time at which the call arrived.
        arrived: Instant,
    },
    /// A client counts an attempt.
    Client {
        /// The server that it is sent to.
        server: Name,
    },
}

/// The bytes of the messages of a request.
enum RequestBytes {
    /// All of them are known.
    Whole(u64),
    /// They come one by one.
    Stream(Arc<AtomicU64>),
}

impl Exchange {
    /// Begins one that must end by `deadline`, on `side`.
    pub(crate) fn begin(recorder: &Recorder, side: Side, deadline: Instant) -> Self {
        Self {
            recorder: recorder.clone(),
            side,
            deadline,
            request: RequestBytes::Whole(0),
            reply: MessageCount::default(),
            has_ended: false,
        }
    }

    /// Notes that it must end by `deadline` from now on.
    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Notes that the request has one message, of so many bytes.
    pub(crate) fn request(&mut self, bytes: usize) {
        self.request = RequestBytes::Whole(bytes as u64);
    }

    /// Returns `body` with the messages of the request, whose bytes are counted as they pass.
    pub(crate) fn request_stream(&mut self, body: Body) -> Body {
        let bytes = Arc::<AtomicU64>::default();
        self.request = RequestBytes::Stream(bytes.clone());
        CountedBody::count(body, bytes)
    }

    /// Follows the headers of the reply. Those of a reply without a body have its status.
    pub(crate) fn on_headers(&mut self, headers: &HeaderMap) {
        if let Some(status) = status_in(headers) {
            self.end(status);
        }
    }

    /// Follows the reply to its next frame, its failure or its end.
    pub(crate) fn on_frame(&mut self, frame: Option<&Result<Frame<Bytes>, Status>>) {
        match frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.reply.add(data);
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.on_headers(trailers);
                }
            }
            Some(Err(failed)) => self.end(failed.code().into()),
            None => self.end(Code::Unknown),
        }
    }

    /// Returns whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Ends it with `status`, unless it has ended.
    pub(crate) fn end(&mut self, status: Code) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let request = match &self.request {
            RequestBytes::Whole(bytes) => *bytes,
            RequestBytes::Stream(bytes) => bytes.load(Ordering::Relaxed),
        };
        let reply = self.reply.bytes();
        self.recorder.measure_call(match &self.side {
            Side::Server { method, arrived } => {
                let duration_us = self.recorder.now().since(*arrived).as_micros();
                CallMoment::Ended {
                    method: method.clone(),
                    status,
                    duration_us: u64::try_from(duration_us).unwrap_or(u64::MAX),
                    bytes: MessageBytes { sent: reply, received: request },
                }
            }
            Side::Client { server } => CallMoment::AttemptEnded {
                server: server.clone(),
                status,
                bytes: MessageBytes { sent: request, received: reply },
            },
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.has_ended {
            let is_late = self.recorder.now() >= self.deadline;
            self.end(if is_late { Code::DeadlineExceeded } else { Code::Cancelled });
        }
    }
}

/// Returns the status in headers or trailers, if they have one; UNKNOWN if it is none of gRPC's.
pub(super) fn status_in(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|status| tonic::Code::from_bytes(status.as_bytes()).into())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{sync::Mutex, time::Duration};

    use futures_util::FutureExt;
    use http::HeaderValue;

    use super::*;
    use crate::{
        fuzzing::host::{MemoryHost, SharedHost},
        grpc::{Pieces, collect},
        record::{Row, Sink},
        sync::lock,
        world::World,
    };

    /// Keeps the moments with their sources.
    #[derive(Default)]
    pub(crate) struct Kept(pub(crate) Mutex<Vec<(Name, CallMoment)>>);

    impl Sink for Kept {
        fn take(&self, _: Row) {}

        fn measures(&self) -> bool {
            true
        }

        fn measure(&self, recorder: &Recorder, moment: CallMoment) {
            lock(&self.0).push((recorder.source().clone(), moment));
        }
    }

    /// Plays a call that arrives at 0 and has time for a second, and returns the only moment.
    fn played(play: impl FnOnce(Exchange, &MemoryHost)) -> CallMoment {
        let host = Arc::<MemoryHost>::default();
        let world = Arc::new(SharedHost(host.clone()));
        let kept = Arc::<Kept>::default();
        let side = Side::Server { method: "a/B".into(), arrived: world.now() };
        let deadline = world.now() + Duration::from_secs(1);
        let recorder = Recorder::new(world, "server-0", kept.clone());
        play(Exchange::begin(&recorder, side, deadline), &host);
        let mut moments = lock(&kept.0);
        assert_eq!(moments.len(), 1);
        moments.remove(0).1
    }

    fn ended(status: Code, duration_us: u64, (received, sent): (u64, u64)) -> CallMoment {
        CallMoment::Ended { method: "a/B".into(), status, duration_us, bytes: MessageBytes { sent, received } }
    }

    fn data(bytes: &'static [u8]) -> Result<Frame<Bytes>, Status> {
        Ok(Frame::data(bytes.into()))
    }

    fn trailers(status: Option<&'static str>) -> Result<Frame<Bytes>, Status> {
        let status = status.map(|status| (Status::GRPC_STATUS, HeaderValue::from_static(status)));
        Ok(Frame::trailers(status.into_iter().collect()))
    }

    #[test]
    fn it_ends_once_by_what_comes_first() {
        let replied = played(|mut call, host| {
            call.request(7);
            call.on_frame(Some(&data(&[0, 0, 0, 0, 3, 1])));
            call.on_frame(Some(&data(&[2, 3, 0, 0, 0, 0, 1, 4])));
            host.advance_to(Instant::START + Duration::from_millis(2));
            call.on_frame(Some(&trailers(Some("14"))));
            host.advance_to(Instant::START + Duration::from_secs(3));
            call.on_frame(None);
        });
        assert_eq!(replied, ended(Code::Unavailable, 2_000, (7, 4)));
        let failed = played(|mut call, _| {
            call.on_frame(Some(&Err(Status::resource_exhausted("too long"))));
            call.on_frame(Some(&trailers(Some("0"))));
        });
        assert_eq!(failed, ended(Code::ResourceExhausted, 0, (0, 0)));
        let without_status = played(|mut call, _| {
            call.on_frame(Some(&trailers(None)));
            call.on_frame(None);
        });
        assert_eq!(without_status, ended(Code::Unknown, 0, (0, 0)));
    }

    #[test]
    fn one_that_is_dropped_was_cancelled_or_its_time_is_over() {
        let at = |time| played(move |_, host| host.advance_to(Instant::START + time));
        assert_eq!(at(Duration::from_millis(999)), ended(Code::Cancelled, 999_000, (0, 0)));
        assert_eq!(at(Duration::from_secs(1)), ended(Code::DeadlineExceeded, 1_000_000, (0, 0)));
    }

    #[test]
    fn messages_of_a_request_are_counted_as_they_pass() {
        let stream = played(|mut call, _| {
            let messages = Bytes::from_static(&[0, 0, 0, 0, 2, 8, 9, 0, 0, 0, 0, 0]);
            let body = Body::new(Pieces::from(messages));
            assert!(collect(call.request_stream(body)).now_or_never().is_some_and(|read| read.is_ok()));
            call.end(Code::Ok);
        });
        assert_eq!(stream, ended(Code::Ok, 0, (2, 0)));
    }

    #[test]
    fn a_status_is_read_from_headers_as_grpc_writes_it() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(Status::GRPC_STATUS, HeaderValue::from_static(value));
            status_in(&headers)
        };
        assert_eq!(["0", "4", "14"].map(read), [Code::Ok, Code::DeadlineExceeded, Code::Unavailable].map(Some));
        assert_eq!(["", "17", "-1", "ok"].map(read), [Some(Code::Unknown); 4]);
        assert_eq!(status_in(&HeaderMap::new()), None);
    }
}
