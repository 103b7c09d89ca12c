//! The requests of the load of an app.

use std::{error::Error, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use tonic::Status;

use super::{BoxError, Call, Host, Load};
use crate::{
    client::{self, LoadCall, Progress},
    context::{Context, within},
    entropy::Entropy,
    grpc::Methods,
    load::{Called, LoadRequest, Mix, RequestKind, Requests},
    record::{Answer, AttemptId, Name},
    status::{Code, Outcome},
    time::Instant,
};

/// The size of each request in the record: what an app sends is its own.
const SIZE: &str = "app";

/// The requests of the load of an app.
pub(super) struct AppRequests {
    /// The code of a request, or the reason why the load cannot begin.
    load: Result<Load, String>,
    host: Host,
    entropy: Entropy,
    mix: Mix,
    kinds: Vec<Name>,
    methods: Arc<Methods>,
}

impl AppRequests {
    pub(super) fn new(
        load: Result<Load, String>,
        host: Host,
        entropy: Entropy,
        kinds: &[RequestKind],
        methods: Arc<Methods>,
    ) -> Self {
        let names = kinds.iter().map(|kind| kind.name.as_str().into()).collect();
        Self { load, host, entropy, mix: Mix::new(kinds), kinds: names, methods }
    }
}

impl Requests for AppRequests {
    fn request(&self, id: u64) -> LoadRequest {
        let kind = self.mix.kind_of(self.entropy, id).map(|kind| self.kinds[kind].clone());
        let load = self.load.clone();
        let host = self.host.clone();
        let methods = self.methods.clone();
        LoadRequest {
            size: SIZE.to_owned(),
            kind: kind.clone(),
            call: Box::new(move |client| {
                Box::pin(async move {
                    let load = load.map_err(|error| format!("`App::load_with` failed before it: {error}"))?;
                    let progress = LoadCall::new(id);
                    let call = Call::new(id, kind, host.clone(), client, progress.clone(), methods);
                    // The load is no attempt: those count from 1.
                    let context = Context::of_attempt(AttemptId::of_request(id, 0));
                    let calling = AssertUnwindSafe(async { load(call.clone()).await });
                    let ended = within(context, calling.catch_unwind()).await;
                    // The panic hook has printed where it happened and why.
                    let ended = ended.map_err(|_| "it panicked; standard error says where".to_owned())?;
                    let progress = progress.take().await;
                    if matches!(progress, Progress::NotCalled) && host.has_connector() {
                        let response = own_response(ended);
                        response.cause.iter().for_each(|cause| host.record_give_up(id, cause));
                        return Ok(Called { response, wrong: call.failed_check(), done: None });
                    }
                    let (mut response, done) = response(progress)?;
                    response.expect_messages(call.expected_messages());
                    let wrong = wrong(&response, call.failed_check(), ended.err());
                    Ok(Called { response, wrong, done: Some(done) })
                })
            }),
        }
    }
}

/// Returns the response to the one call of a request, or why there is none, with the remedy.
fn response(progress: Progress) -> Result<(client::Response, Instant), String> {
    match progress {
        Progress::Ended(response, done) => Ok((*response, done)),
        Progress::Mistake(mistake) => Err(mistake),
        Progress::NotCalled => Err("it makes no call; make one with a generated client over `call.channel()`, or over a stack of its own \
                                    (`host.connector`)"
            .to_owned()),
        Progress::Called | Progress::Streams => {
            Err("its call was dropped before it had ended; to end it earlier, set a timeout of the request or `client.deadline`"
                .to_owned())
        }
        Progress::CalledAgain(path) => Err(format!(
            "it makes a second call, `{path}`, and a request of a load is one call; make it a request of another kind \
             ([[load.request]]), which `call.kind()` returns"
        )),
    }
}

/// Returns the response of a request that has made its calls by a client stack of the load's own, which has `ended` in this way.
fn own_response(ended: Result<(), BoxError>) -> client::Response {
    let failed = ended.err().map(|error| match status_of(&*error) {
        Some(status) => (status.code().into(), status.message().to_owned()),
        None => (Code::Unknown, error.to_string()),
    });
    client::Response {
        outcome: failed.as_ref().map_or(Outcome::OK, |(code, _)| Outcome::Status(*code)),
        reply: None,
        cause: failed.map(|(_, cause)| cause),
        server: None,
        attempts: 0,
        failovers: 0,
        hedges: 0,
        rejected: false,
        answer: Some(Answer::OwnStack),
        stream: None,
    }
}

/// Returns the first status of a failure among `error` and its sources.
fn status_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Status> {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<Status>() {
            // It is no failure, and what comes with it may be.
            Some(status) if status.code() != tonic::Code::Ok => return Some(status),
            _ => {}
        }
        next = error.source();
    }
    None
}

/// Returns what is wrong with the reply of a call.
fn wrong(response: &client::Response, failed_check: Option<String>, error: Option<BoxError>) -> Option<String> {
    // No server gave this reply, or not all of it, so there is nothing to check.
    if let Some(Answer::Fallback | Answer::Partial) = response.answer {
        return None;
    }
    let has_succeeded = matches!(response.outcome, Outcome::Status(Code::Ok) | Outcome::Degraded);
    failed_check.or_else(|| {
        error.filter(|_| has_succeeded).map(|error| format!("the call succeeded, and the load failed: {error}"))
    })
}
