//! The notations of outcomes in logs of other programs.

use kernel::status::{Code, Outcome};

/// The meaning of numbers in a status column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    /// Codes of gRPC, 0 to 16.
    Grpc,
    /// Statuses of HTTP; 0 and negative numbers stand for no response, as in logs of k6.
    Http,
}

impl Numbers {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "gRPC",
            Self::Http => "HTTP",
        }
    }
}

/// The ending of a request, as its row says it. An empty cell is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending<'a> {
    /// The status.
    pub(super) status: Option<&'a str>,
    /// The error in words.
    pub(super) error: Option<&'a str>,
    /// The success, as the row says it.
    pub(super) success: Option<&'a str>,
}

impl Ending<'_> {
    /// Returns the outcome. The status decides; where it does not say why a request failed, the words of the error do.
    ///
    /// # Errors
    /// The row does not say how the request ended, or in words that are not known.
    pub(super) fn outcome(&self, numbers: Numbers) -> Result<Outcome, String> {
        let error = self.error.filter(|text| !is_no_error(text));
        let failed = match self.success {
            None => false,
            Some(text) => !is_success(text).ok_or_else(|| format!("`{text}` is neither true nor false"))?,
        };
        let found = match self.status.filter(|text| *text != "-") {
            Some(text) => match outcome(text, numbers).or_else(|| of_words(text).map(Outcome::Status)) {
                Some(found) => found,
                None if error.is_some() || failed => Outcome::Status(Code::Unknown),
                None => return Err(format!("`{text}` is not a known status")),
            },
            None if error.is_some() || failed => Outcome::Status(Code::Unknown),
            None if self.success.is_some() || self.error.is_some() => Outcome::OK,
            None => return Err("it has no status".to_owned()),
        };
        let is_without_response =
            numbers == Numbers::Http && found == NO_RESPONSE && self.status.is_some_and(is_no_response);
        // A check of the load generator can fail a response that is OK, and a response can break off behind its status.
        let says_nothing = (found == Outcome::Status(Code::Unknown) && self.status.is_none_or(is_vague))
            || is_without_response
            || (found.is_success() && (failed || error.is_some()));
        if !says_nothing {
            return Ok(found);
        }
        let by_words = error.map(|text| of_words(text).unwrap_or(Code::Unknown));
        Ok(match by_words {
            Some(Code::Unknown | Code::Ok) if is_without_response => found,
            Some(Code::Ok) | None if found.is_success() => Outcome::Status(Code::Unknown),
            Some(code) => Outcome::Status(code),
            None => found,
        })
    }
}

/// Returns whether a status is neither a number nor a name of gRPC, such as `KO`.
fn is_vague(status: &str) -> bool {
    let status = status.trim();
    !status.starts_with(|first: char| first.is_ascii_digit()) && of_name(&folded(status)).is_none()
}

/// Returns whether a cell says that the request succeeded; `None` if it says neither.
fn is_success(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "y" | "ok" | "pass" | "passed" | "success" => Some(true),
        "false" | "f" | "0" | "no" | "n" | "ko" | "fail" | "failed" | "failure" | "error" => Some(false),
        _ => None,
    }
}

/// The outcome of a request without a response.
const NO_RESPONSE: Outcome = Outcome::Status(Code::Unavailable);

/// Returns whether the words stand for no error.
pub(super) fn is_no_error(text: &str) -> bool {
    matches!(
        text.trim().to_ascii_lowercase().as_str(),
        "" | "-" | "none" | "null" | "nil" | "<nil>" | "nan" | "ok" | "false" | "0"
    )
}

/// Returns whether the text is a number that HTTP does not have, which load generators write if there was no response.
fn is_no_response(text: &str) -> bool {
    text.trim().parse::<i64>().is_ok_and(|number| number <= 0)
}

/// Returns the outcome that `text` stands for: the name of a gRPC code in any notation (`UNAVAILABLE`, `Unavailable`), a
/// number, `true` or `false`, or `DROPPED`.
pub(super) fn outcome(text: &str, numbers: Numbers) -> Option<Outcome> {
    // Cells of JSON are not trimmed by the reader of CSV.
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return of_number(number, numbers);
    }
    let folded = folded(text);
    match folded.as_str() {
        "true" | "success" | "succeeded" | "passed" => Some(Outcome::OK),
        "false" | "error" | "failed" | "failure" | "ko" => Some(Outcome::Status(Code::Unknown)),
        "dropped" => Some(Outcome::Dropped),
        "degraded" => Some(Outcome::Degraded),
        _ => of_name(&folded).map(Outcome::Status).or_else(|| {
            // `503 Service Unavailable`, `200.0`.
            let digits = text.find(|c: char| !c.is_ascii_digit())?;
            let is_status = digits == 3 && text[3..].starts_with([' ', '.', ':']);
            is_status.then(|| of_number(text[..3].parse().ok()?, Numbers::Http)).flatten()
        }),
    }
}

fn of_number(number: i64, numbers: Numbers) -> Option<Outcome> {
    match numbers {
        Numbers::Grpc => Code::names().nth(usize::try_from(number).ok()?)?.parse().ok().map(Outcome::Status),
        Numbers::Http if number <= 0 => Some(NO_RESPONSE),
        Numbers::Http if (100..1000).contains(&number) => Some(Outcome::Status(code_of_http(number))),
        Numbers::Http => None,
    }
}

fn of_name(folded: &str) -> Option<Code> {
    match folded {
        // The specification of gRPC has two Ls, the library for Go has one.
        "canceled" => Some(Code::Cancelled),
        _ => Code::names().find(|name| self::folded(name) == folded)?.parse().ok(),
    }
}

/// Returns `text` in lower case and without underscores.
fn folded(text: &str) -> String {
    text.chars().filter(|character| *character != '_').collect::<String>().to_ascii_lowercase()
}

/// Words of errors after which the deadline had passed, before those of connections: `dial tcp: i/o timeout` is one.
const TIMEOUTS: [&str; 7] =
    ["timeout", "timed out", "time out", "timedout", "deadline exceeded", "deadlineexceeded", "etimedout"];

/// Words of errors of a caller that gave up.
const CANCELLED: [&str; 3] = ["canceled", "cancelled", "interrupted"];

/// Words of errors of a connection.
const CONNECTION: [&str; 34] = [
    "refused",
    "reset",
    "broken pipe",
    "unreachable",
    "no route to host",
    "no such host",
    "name resolution",
    "name or service not known",
    "lookup ",
    "unknownhost",
    "enotfound",
    "eai_again",
    "econn",
    "epipe",
    "ehostunreach",
    "connectexception",
    "socketexception",
    "nohttpresponse",
    "failed to respond",
    "non http response",
    "remotedisconnected",
    "connectionerror",
    "connecterror",
    "connection closed",
    "connection error",
    "closed connection",
    "socket closed",
    "socket hang up",
    "goaway",
    "prematurely",
    "premature close",
    "tls handshake",
    "sslexception",
    "failed to connect",
];

/// Returns the code that the words of an error stand for; `None` if they say nothing of it.
pub(super) fn of_words(text: &str) -> Option<Code> {
    let lower = text.to_lowercase();
    // `rpc error: code = Unavailable desc = …`
    let named = lower.split_once("code = ").or_else(|| lower.split_once("statuscode.")).map(|(_, rest)| rest);
    let named = named.and_then(|rest| of_name(&folded(rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?)));
    if named.is_some() {
        return named;
    }
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    // `eof` is a part of other words.
    let mut words = lower.split(|c: char| !c.is_alphanumeric());
    if has(&TIMEOUTS) {
        Some(Code::DeadlineExceeded)
    } else if has(&CONNECTION) || words.any(|word| word == "eof") {
        Some(Code::Unavailable)
    } else if has(&CANCELLED) {
        Some(Code::Cancelled)
    } else {
        // `status.find.is(200), but actually found 503`; `HTTPError('503 Server Error …')`.
        let after = ["found ", "status code ", "status code: ", "httperror('", "status "].iter();
        let mut statuses = after.filter_map(|word| lower.split(word).nth(1)?.get(..3)?.parse::<i64>().ok());
        statuses.find(|status| (400..600).contains(status)).map(code_of_http)
    }
}

/// Returns the code that gRPC's document on mapping HTTP statuses assigns.
fn code_of_http(status: i64) -> Code {
    match status {
        200..=399 => Code::Ok,
        _ => u16::try_from(status).map_or(Code::Unknown, Code::from_http),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_other_programs_are_understood() {
        let grpc = |text| outcome(text, Numbers::Grpc).map(Outcome::name);
        assert_eq!(grpc("DeadlineExceeded"), Some("DEADLINE_EXCEEDED"));
        assert_eq!(grpc("UNAVAILABLE"), Some("UNAVAILABLE"));
        assert_eq!([grpc("0"), grpc("14"), grpc("17"), grpc("-1")], [Some("OK"), Some("UNAVAILABLE"), None, None]);
        assert_eq!(
            [grpc("Canceled"), grpc("true"), grpc("KO"), grpc("what")],
            [Some("CANCELLED"), Some("OK"), Some("UNKNOWN"), None]
        );
        let http = |text| outcome(text, Numbers::Http).map(Outcome::name);
        assert_eq!([http("200"), http("503"), http("0")], [Some("OK"), Some("UNAVAILABLE"), Some("UNAVAILABLE")]);
        assert_eq!([http("503 Service Unavailable"), http("14"), http("5000")], [Some("UNAVAILABLE"), None, None]);
    }

    #[test]
    fn a_connection_error_in_any_words_is_unavailable_and_a_timeout_is_none() {
        for text in [
            "dial tcp 127.0.0.1:8080: connect: connection refused",
            "Get \"http://a/\": EOF",
            "read tcp: connection reset by peer",
            "dial: connection refused",
            "Non HTTP response code: java.net.ConnectException",
            "j.n.ConnectException: Connection refused",
            "ConnectionError(ProtocolError('Connection aborted.', RemoteDisconnected('Remote end closed connection')))",
            "ECONNRESET",
            "lookup a.test: no such host",
            "rpc error: code = Unavailable desc = name resolver error",
        ] {
            assert_eq!(of_words(text), Some(Code::Unavailable), "{text}");
        }
        for text in [
            "dial tcp 127.0.0.1:8080: i/o timeout",
            "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            "request timeout",
            "Non HTTP response code: java.net.SocketTimeoutException",
            "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
        ] {
            assert_eq!(of_words(text), Some(Code::DeadlineExceeded), "{text}");
        }
        assert_eq!(of_words("status.find.is(200), but actually found 503"), Some(Code::Unavailable));
        assert_eq!(of_words("Geoffrey"), None);
    }

    #[test]
    fn an_error_beside_a_status_says_why() {
        let name = |status, error, success| Ending { status, error, success }.outcome(Numbers::Http).map(Outcome::name);
        assert_eq!(name(Some("0"), Some("dial: i/o timeout"), None), Ok("DEADLINE_EXCEEDED"));
        assert_eq!(name(Some("0"), None, None), Ok("UNAVAILABLE"));
        assert_eq!(name(Some("0"), Some("something else"), None), Ok("UNAVAILABLE"));
        assert_eq!(name(Some("503"), Some("503 Service Unavailable"), None), Ok("UNAVAILABLE"));
        assert_eq!(name(Some("404"), Some("connection reset"), None), Ok("UNIMPLEMENTED"));
        assert_eq!(name(Some("500"), Some("connection reset"), None), Ok("UNKNOWN"), "there was a response");
        assert_eq!(name(Some("200"), Some("unexpected EOF"), None), Ok("UNAVAILABLE"), "the body broke off");
        assert_eq!(name(Some("200"), None, Some("false")), Ok("UNKNOWN"), "an assertion of JMeter failed");
        assert_eq!(name(Some("200"), Some("-"), Some("true")), Ok("OK"));
        assert_eq!(name(Some("KO"), Some("Connection refused"), None), Ok("UNAVAILABLE"));
        assert_eq!(
            name(Some("Non HTTP response code: java.net.ConnectException"), None, Some("false")),
            Ok("UNAVAILABLE")
        );
        assert_eq!(name(None, None, Some("true")), Ok("OK"));
        assert_eq!([name(None, None, Some("1")), name(None, None, Some("0"))], [Ok("OK"), Ok("UNKNOWN")]);
        assert!(name(None, None, Some("perhaps")).is_err());
        assert_eq!(name(None, Some("x"), None), Ok("UNKNOWN"));
        assert!(name(None, None, None).is_err() && name(Some("what"), None, None).is_err());
    }
}
