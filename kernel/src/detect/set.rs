//! A set of runs with known faults, with which detectors are compared.
//!
//! A set is a folder: `runs.jsonl` has a line for each run ([`SetRun`]), and `calls/` has a file for each run with the results of its
//! calls. Everything in `runs.jsonl` was drawn before anything was played, from the seed of the set; half of the runs are for tuning,
//! and the other half is for the evaluation.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::Call;
use crate::{
    run_folder::{
        FolderError, FolderKind, OsFiles, RowKind,
        lines::{JsonLines, UnfinishedLine},
    },
    visible::Visible,
};

/// The file with a line for each run.
pub const RUNS: &str = "runs.jsonl";

/// A set of runs, as errors name it.
static SET: FolderKind = FolderKind {
    not_one: "not a set of runs with known faults",
    cannot: "read the set: ",
    other_version: "is of another version of this program",
    other_version_remedy: "draw and play it again with `sim incidents`",
    damaged_remedy: "draw and play the set again with `sim incidents`",
};

/// A run of it.
static SET_RUN: RowKind = RowKind { folder: &SET, not_one: "not a run of a set" };

/// The half of a set that a run belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display, strum::EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Half {
    /// Thresholds and parameters may be chosen with it.
    Tuning,
    /// Nothing was chosen with it.
    Evaluation,
}

/// A run of a set, as it was drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetRun {
    /// Its number, from 0.
    pub run: u64,
    /// Its half of the set: runs with even numbers are for tuning.
    pub half: Half,
    /// The seed with which it is played.
    pub seed: u64,
    /// The time in microseconds for which load is offered.
    pub duration_us: u64,
    /// The faults, by their start.
    pub faults: Vec<SetFault>,
    /// The text of its scenario file.
    pub scenario: String,
}

/// A fault of a run of a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetFault {
    /// Its kind, as scenarios write it.
    pub kind: String,
    /// Its start in microseconds since the run began.
    pub start_us: u64,
    /// Its end in microseconds since the run began.
    pub end_us: u64,
}

/// Reads the runs of the set at `place`.
///
/// # Errors
/// There is no set, or a line is malformed.
pub fn runs(place: &Path) -> Result<Vec<SetRun>, FolderError> {
    JsonLines::open(&OsFiles, &place.join(RUNS), &SET_RUN, UnfinishedLine::Read)?.collect()
}

/// Returns the path of the results of run number `run` of the set at `place`.
pub fn calls_path(place: &Path, run: u64) -> PathBuf {
    place.join("calls").join(format!("{run:05}"))
}

/// Returns calls, which are in the order of their ends, as the content of a file: of each call the time since the end of the one before
/// it, and twice its latency, plus 1 if it failed; both in microseconds, seven bits a byte, the lowest first, with the eighth bit set in
/// all bytes of a number but the last (LEB128).
pub fn pack(calls: impl IntoIterator<Item = Call>) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut last_us = 0;
    for call in calls {
        push(&mut packed, call.end_us.saturating_sub(last_us));
        push(&mut packed, call.latency_us.min(u64::MAX >> 1) << 1 | u64::from(call.is_failure));
        last_us = call.end_us;
    }
    packed
}

fn push(packed: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        packed.push(number as u8 | 0x80);
        number >>= 7;
    }
    packed.push(number as u8);
}

/// Reads the results of run number `run` of the set at `place`, in the order of their ends.
///
/// # Errors
/// The file cannot be read or is damaged; the message says what to do.
pub fn calls(place: &Path, run: u64) -> io::Result<Vec<Call>> {
    let path = calls_path(place, run);
    let bytes = fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => missing(&path, "is missing: the set is not complete"),
        _ => io::Error::new(error.kind(), format!("{}: {error}", path.visible())),
    })?;
    unpack(&bytes).ok_or_else(|| missing(&path, "is damaged"))
}

fn missing(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} {what}; play it again with `sim incidents`", path.visible()))
}

/// Returns the calls of the content of a file; `None` if it is damaged.
fn unpack(bytes: &[u8]) -> Option<Vec<Call>> {
    let mut bytes = bytes.iter().copied();
    let mut calls = Vec::with_capacity(bytes.len() / 5);
    let mut end_us = 0_u64;
    while let Some(first) = bytes.next() {
        end_us = end_us.checked_add(number(first, &mut bytes)?)?;
        let second = bytes.next()?;
        let packed = number(second, &mut bytes)?;
        calls.push(Call { end_us, latency_us: packed >> 1, is_failure: packed & 1 == 1 });
    }
    Some(calls)
}

fn number(first: u8, bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut value = 0_u64;
    let mut byte = first;
    for shift in (0..u64::BITS).step_by(7) {
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << shift;
        if shifted >> shift != bits {
            return None;
        }
        value |= shifted;
        if byte & 0x80 == 0 {
            return Some(value);
        }
        byte = bytes.next()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call() -> impl Strategy<Value = Call> {
        (0..1_u64 << 40, 0..u64::MAX >> 1, any::<bool>()).prop_map(|(end_us, latency_us, is_failure)| Call {
            end_us,
            latency_us,
            is_failure,
        })
    }

    proptest! {
        #[test]
        fn calls_are_read_as_they_were_packed(mut calls in prop::collection::vec(call(), 0..50)) {
            calls.sort_by_key(|call| call.end_us);
            prop_assert_eq!(unpack(&pack(calls.clone())), Some(calls));
        }

        #[test]
        fn bytes_of_any_kind_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(calls) = unpack(&bytes) {
                prop_assert!(calls.len() * 2 <= bytes.len());
            }
        }
    }

    #[test]
    fn a_file_that_was_cut_off_is_damaged() {
        let packed = pack([Call { end_us: 1_000_000, latency_us: 900, is_failure: false }]);
        assert_eq!(packed.len(), 5);
        assert_eq!(unpack(&packed[..packed.len() - 1]), None);
    }

    #[test]
    fn a_missing_file_is_an_error_with_the_remedy() {
        let error = calls(Path::new("nowhere"), 3).unwrap_err().to_string();
        assert!(error.contains("00003") && error.contains("sim incidents"), "{error}");
    }
}
