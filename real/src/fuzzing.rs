//! The functions that the fuzz targets of `.fuzz` call in this crate; see [`kernel::fuzzing`].

use crate::{
    authority::pass_through,
    manual,
    message::{LoadCommand, ReplicaCommand, Report},
};

/// Reads a message as each process does that gets messages: the load process, a replica, the orchestrator, a server that was
/// started by hand, and the commands that ask it.
///
/// # Panics
///
/// Panics if a message that was accepted is another one after it was written and read.
pub fn control_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    round_trip::<LoadCommand>(text);
    round_trip::<ReplicaCommand>(text);
    round_trip::<Report>(text);
    round_trip::<manual::ControlRequest>(text);
    round_trip::<manual::ControlResponse>(text);
}

/// Reads what a client sends, as a server's connection does that takes any `:authority`. The first byte is the size of the pieces in which
/// the others arrive, less one.
///
/// # Panics
///
/// Panics if what passes depends on the pieces, or if something in it is replaced a second time.
pub fn authority(data: &[u8]) {
    let Some((size, bytes)) = data.split_first() else { return };
    let whole = pass_through(bytes, bytes.len().max(1));
    assert_eq!(pass_through(bytes, usize::from(*size) + 1), whole, "in pieces of {size} and one");
    assert_eq!(pass_through(&whole, whole.len().max(1)), whole, "a second time");
}

fn round_trip<T>(text: &str)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    if let Ok(message) = serde_json::from_str::<T>(text) {
        let written = crate::message::line(&message);
        assert_eq!(serde_json::from_str::<T>(&written).ok(), Some(message), "{written}");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_message_is_read_or_refused() {
        kernel::fuzzing::replay(env!("CARGO_MANIFEST_DIR"), "control_message", super::control_message);
    }

    #[test]
    fn any_connection_passes_alike_in_any_pieces() {
        kernel::fuzzing::replay(env!("CARGO_MANIFEST_DIR"), "authority", super::authority);
    }
}
