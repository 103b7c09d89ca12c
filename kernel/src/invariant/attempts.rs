//! The attempts of a run, to be looked up while its events are read.

use std::collections::BTreeMap;

use crate::{
    record::{Name, Rows},
    status::Code,
};

/// The part of an attempt that the checks of events need: 64 bytes, where its row takes some hundred.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    pub(super) request: u64,
    pub(super) number: u32,
    pub(super) status: Code,
    pub(super) start_us: u64,
    pub(super) end_us: u64,
    /// The time at which the headers of a reply that streams arrived, which is its end for most policies.
    pub(super) committed_us: Option<u64>,
    server: u32,
    cause: Option<u32>,
}

/// Every attempt of a run, in order of request, then number.
pub(super) struct Attempts {
    attempts: Vec<Attempt>,
    /// Names of servers and causes: few texts, in all attempts.
    texts: Vec<Name>,
}

impl Attempts {
    /// Collects the attempts in one pass. The rows are in order of request, then attempt.
    pub(super) fn collect(rows: &dyn Rows) -> Self {
        let mut texts = Texts::default();
        let attempts = rows.attempts().map(|row| Attempt {
            request: row.request,
            number: row.attempt,
            status: row.status,
            start_us: row.start_us,
            end_us: row.end_us,
            committed_us: row.committed_us,
            server: texts.number(&row.server),
            cause: row.cause.as_deref().map(|cause| texts.number(cause)),
        });
        Self { attempts: attempts.collect(), texts: texts.all }
    }

    /// Returns an attempt; none if it has no row.
    pub(super) fn find(&self, request: u64, number: u32) -> Option<&Attempt> {
        let found = self.attempts.binary_search_by_key(&(request, number), |attempt| (attempt.request, attempt.number));
        found.ok().map(|at| &self.attempts[at])
    }

    /// Returns all attempts of a request.
    pub(super) fn of_request(&self, request: u64) -> &[Attempt] {
        let from = self.attempts.partition_point(|attempt| attempt.request < request);
        let own = self.attempts[from..].partition_point(|attempt| attempt.request == request);
        &self.attempts[from..from + own]
    }

    /// Returns all attempts.
    pub(super) fn all(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Returns the server that an attempt was sent to.
    pub(super) fn server(&self, attempt: &Attempt) -> &str {
        &self.texts[attempt.server as usize]
    }

    /// Returns the cause of the failure of an attempt.
    pub(super) fn cause(&self, attempt: &Attempt) -> Option<&str> {
        attempt.cause.map(|cause| self.texts[cause as usize].as_str())
    }
}

/// Texts by the order in which they were first seen.
#[derive(Default)]
struct Texts {
    numbers: BTreeMap<Name, u32>,
    all: Vec<Name>,
}

impl Texts {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.numbers.insert(text.into(), number);
        self.all.push(text.into());
        number
    }
}

/// The ids of the requests of a run, in their order.
pub(super) enum RequestIds {
    /// Every id from 0 to just before this one, as in a run that is complete.
    Until(u64),
    /// These, of which some are missing before.
    Listed(Vec<u64>),
}

impl RequestIds {
    /// Collects the ids in one pass. The rows are in order of id.
    pub(super) fn collect(rows: &dyn Rows) -> Self {
        rows.requests().fold(Self::Until(0), |ids, row| ids.and(row.id))
    }

    fn and(self, id: u64) -> Self {
        match self {
            Self::Until(next) if id == next => Self::Until(next + 1),
            Self::Until(next) => Self::Listed((0..next).chain([id]).collect()),
            Self::Listed(mut ids) => {
                ids.push(id);
                Self::Listed(ids)
            }
        }
    }

    /// Returns the number of requests.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Until(next) => usize::try_from(*next).unwrap_or(usize::MAX),
            Self::Listed(ids) => ids.len(),
        }
    }

    /// Returns the position of a request's row.
    pub(super) fn position(&self, id: u64) -> Option<usize> {
        match self {
            Self::Until(next) => usize::try_from(id).ok().filter(|_| id < *next),
            Self::Listed(ids) => ids.binary_search(&id).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_position_whether_some_are_missing_or_not() {
        let of = |ids: &[u64]| ids.iter().fold(RequestIds::Until(0), |all, id| all.and(*id));
        let complete = of(&[0, 1, 2]);
        assert_eq!((complete.len(), complete.position(2), complete.position(3)), (3, Some(2), None));
        let missing = of(&[0, 1, 4, 5]);
        assert_eq!((missing.len(), missing.position(4), missing.position(3)), (4, Some(2), None));
        assert_eq!(of(&[7]).position(7), Some(0));
    }
}
