//! How other programs write the outcome of a request.

use kernel::status::{Code, Outcome};

/// What numbers in a status column mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    /// gRPC's codes, 0 to 16.
    Grpc,
    /// HTTP's, with 0 for no answer at all, as k6 has it.
    Http,
}

/// The outcome that `text` stands for: a name of a gRPC code however it is written (`UNAVAILABLE`, `Unavailable`), a
/// number, `true` or `false`, or `DROPPED`.
pub(super) fn outcome(text: &str, numbers: Numbers) -> Option<Outcome> {
    let text = text.trim();
    if let Ok(number) = text.parse::<u32>() {
        return match numbers {
            Numbers::Grpc => Code::names().nth(number as usize)?.parse().ok().map(Outcome::Status),
            Numbers::Http => Some(Outcome::Status(of_http(number))),
        };
    }
    let folded = folded(text);
    match folded.as_str() {
        "true" | "success" => Some(Outcome::OK),
        "false" | "error" | "failed" => Some(Outcome::Status(Code::Unknown)),
        "dropped" => Some(Outcome::Dropped),
        // gRPC's specification has two Ls, Go's library one.
        "canceled" => Some(Outcome::Status(Code::Cancelled)),
        _ => Code::names().find(|name| self::folded(name) == folded)?.parse().ok().map(Outcome::Status),
    }
}

fn folded(text: &str) -> String {
    text.chars().filter(|character| *character != '_').collect::<String>().to_ascii_lowercase()
}

/// As gRPC's document on mapping HTTP statuses has it; a request without an answer is unavailable, too.
fn of_http(status: u32) -> Code {
    match status {
        200..=399 => Code::Ok,
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        0 | 429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
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
        assert_eq!([grpc("0"), grpc("14"), grpc("17")], [Some("OK"), Some("UNAVAILABLE"), None]);
        assert_eq!([grpc("Canceled"), grpc("true"), grpc("what")], [Some("CANCELLED"), Some("OK"), None]);
        let http = |text| outcome(text, Numbers::Http).map(Outcome::name);
        assert_eq!([http("200"), http("503"), http("0")], [Some("OK"), Some("UNAVAILABLE"), Some("UNAVAILABLE")]);
    }
}
