//! The notations of outcomes in logs of other programs.

use kernel::status::{Code, Outcome};

/// The meaning of numbers in a status column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    /// Codes of gRPC, 0 to 16.
    Grpc,
    /// Statuses of HTTP; 0 stands for no answer, as in logs of k6.
    Http,
}

/// Returns the outcome that `text` stands for: the name of a gRPC code in any notation (`UNAVAILABLE`, `Unavailable`), a
/// number, `true` or `false`, or `DROPPED`.
pub(super) fn outcome(text: &str, numbers: Numbers) -> Option<Outcome> {
    // Cells of JSON are not trimmed by the reader of CSV.
    let text = text.trim();
    if let Ok(number) = text.parse::<u32>() {
        return match numbers {
            Numbers::Grpc => Code::names().nth(number as usize)?.parse().ok().map(Outcome::Status),
            Numbers::Http => Some(Outcome::Status(code_of_http(number))),
        };
    }
    let folded = folded(text);
    match folded.as_str() {
        "true" | "success" => Some(Outcome::OK),
        "false" | "error" | "failed" => Some(Outcome::Status(Code::Unknown)),
        "dropped" => Some(Outcome::Dropped),
        // The specification of gRPC has two Ls, the library for Go has one.
        "canceled" => Some(Outcome::Status(Code::Cancelled)),
        _ => Code::names().find(|name| self::folded(name) == folded)?.parse().ok().map(Outcome::Status),
    }
}

/// Returns `text` in lower case and without underscores.
fn folded(text: &str) -> String {
    text.chars().filter(|character| *character != '_').collect::<String>().to_ascii_lowercase()
}

/// Returns the code that gRPC's document on mapping HTTP statuses assigns. A request without an answer is unavailable, too.
fn code_of_http(status: u32) -> Code {
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
