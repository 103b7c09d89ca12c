//! gRPC status codes by their names, and the outcome of a request, which is one of them or a drop.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::visible::Visible;

/// A gRPC status code, with the meaning that the [gRPC documentation](https://grpc.io/docs/guides/status-codes/) gives it.
/// `Display` and `FromStr` use the specification's names, `UNAVAILABLE` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Code {
    /// The call succeeded.
    Ok = 0,
    /// The caller cancelled the call.
    Cancelled = 1,
    /// The server answered with an error that says no more, or with a status that is not in this list.
    Unknown = 2,
    /// The request is invalid whatever the state of the server, such as a picture without pixels.
    InvalidArgument = 3,
    /// The deadline passed before the call was complete.
    DeadlineExceeded = 4,
    /// The request names something that does not exist.
    NotFound = 5,
    /// The request would create something that exists.
    AlreadyExists = 6,
    /// The caller may not do this.
    PermissionDenied = 7,
    /// A resource is used up. A server answers so when its queue is full, and a client policy when a limit is reached.
    ResourceExhausted = 8,
    /// The server is not in the state that the request needs.
    FailedPrecondition = 9,
    /// The operation was aborted, typically by a conflict with another one.
    Aborted = 10,
    /// The request goes past the valid range.
    OutOfRange = 11,
    /// The server does not have the method.
    Unimplemented = 12,
    /// An invariant of the server or of the protocol is broken.
    Internal = 13,
    /// The server cannot be reached or does not serve now; the call may be retried.
    Unavailable = 14,
    /// Data are lost or corrupted beyond recovery.
    DataLoss = 15,
    /// The request has no valid credentials.
    Unauthenticated = 16,
}

/// Codes and names in numeric order, as the gRPC specification lists them.
const NAMES: [(Code, &str); 17] = [
    (Code::Ok, "OK"),
    (Code::Cancelled, "CANCELLED"),
    (Code::Unknown, "UNKNOWN"),
    (Code::InvalidArgument, "INVALID_ARGUMENT"),
    (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (Code::NotFound, "NOT_FOUND"),
    (Code::AlreadyExists, "ALREADY_EXISTS"),
    (Code::PermissionDenied, "PERMISSION_DENIED"),
    (Code::ResourceExhausted, "RESOURCE_EXHAUSTED"),
    (Code::FailedPrecondition, "FAILED_PRECONDITION"),
    (Code::Aborted, "ABORTED"),
    (Code::OutOfRange, "OUT_OF_RANGE"),
    (Code::Unimplemented, "UNIMPLEMENTED"),
    (Code::Internal, "INTERNAL"),
    (Code::Unavailable, "UNAVAILABLE"),
    (Code::DataLoss, "DATA_LOSS"),
    (Code::Unauthenticated, "UNAUTHENTICATED"),
];

impl Code {
    /// Returns every code's name, in numeric order.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(_, name)| *name)
    }

    /// Returns the specification's name of the code, such as `UNAVAILABLE`.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// Returns the code of a reply without `grpc-status` whose HTTP status is no success, by gRPC's document "HTTP to gRPC Status
    /// Code Mapping".
    pub fn from_http(status: u16) -> Self {
        match status {
            400 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            429 | 502 | 503 | 504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The error of a text that is not the name of a gRPC status code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a gRPC status code", .0.visible())]
pub struct UnknownCode(String);

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        NAMES.iter().find(|(_, name)| *name == text).map(|(code, _)| *code).ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

#[cfg(feature = "service")]
impl From<tonic::Code> for Code {
    fn from(code: tonic::Code) -> Self {
        NAMES[code as i32 as usize].0
    }
}

#[cfg(feature = "service")]
impl From<Code> for tonic::Code {
    fn from(code: Code) -> Self {
        tonic::Code::from_i32(code as i32)
    }
}

/// The way in which a request ended. Records and reports write it by [`name`](Self::name).
///
/// ```
/// use kernel::status::{Code, Outcome};
///
/// let code: Code = "UNAVAILABLE".parse()?;
/// assert!(!Outcome::Status(code).is_success());
/// assert_eq!(Outcome::Dropped.name(), "DROPPED");
/// # Ok::<(), kernel::status::UnknownCode>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The call ended with this status.
    Status(Code),
    /// The request was not sent, because as many calls as allowed were in flight.
    Dropped,
    /// The call got a stale answer or a fallback's, which the scenario does not count as a success.
    Degraded,
}

impl Outcome {
    /// The outcome of a successful request.
    pub const OK: Self = Self::Status(Code::Ok);

    /// Returns true if the request succeeded: its status is OK.
    pub fn is_success(self) -> bool {
        self == Self::OK
    }

    /// Returns the name of the status, or `DROPPED` or `DEGRADED`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Status(code) => code.name(),
            Self::Dropped => "DROPPED",
            Self::Degraded => "DEGRADED",
        }
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor(|name| name.parse()))
    }
}

/// Reads a name without making a `String` first, as it is in every row of a run.
struct NameVisitor<T>(fn(&str) -> Result<T, UnknownCode>);

impl<T> de::Visitor<'_> for NameVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<T, E> {
        (self.0)(name).map_err(E::custom)
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Outcome {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor(|name| match name {
            "DROPPED" => Ok(Self::Dropped),
            "DEGRADED" => Ok(Self::Degraded),
            name => name.parse().map(Self::Status),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_agrees_with_its_name() {
        for (position, (code, name)) in NAMES.iter().enumerate() {
            assert_eq!(*code as usize, position);
            assert_eq!(name.parse(), Ok(*code));
        }
        assert_eq!("unavailable".parse::<Code>(), Err(UnknownCode("unavailable".into())));
    }

    #[cfg(feature = "service")]
    #[test]
    fn every_code_agrees_with_that_of_tonic() {
        for (code, _) in NAMES {
            assert_eq!(Code::from(tonic::Code::from(code)), code);
        }
    }
}
