//! Faults that are repeated: `every` and `count`. A fault of the file becomes as many faults as it has occurrences.

use std::time::Duration;

use super::Fault;
use crate::settings::{
    duration, limits,
    problem::Problem,
    table::TableReader,
    table_macro::{NOT_DRAWN, keys},
};

keys! {
    /// Time from the start of one occurrence to the start of the next: the fault happens at `at`, at `at` + `every` and so on. Longer than
    /// the fault lasts.
    pub(super) const EVERY = every: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
    /// Number of occurrences of a fault with `every`; by default as many as start before the end of the scenario's `duration`.
    pub(super) const COUNT = count: Option<usize> = None, limits::OCCURRENCES, NOT_DRAWN;
}

/// Returns the occurrences of `fault`, which was read from `table`: itself alone, unless it has `every`. `end` is the scenario's duration.
pub(super) fn occurrences(
    table: &TableReader<'_, '_>,
    fault: Fault,
    end: Option<Duration>,
) -> Result<Vec<Fault>, Problem> {
    let every = EVERY.read(table)?;
    let count = COUNT.read(table)?;
    let Some(every) = every else {
        return match table.span(COUNT.name) {
            Some(span) => Err(Problem::at(
                span,
                "`count` is the number of times that a fault with `every` happens, and there is no `every`",
            )
            .help("write, for example: every = \"10s\"")),
            None => Ok(vec![fault]),
        };
    };
    is_over_before_the_next(table, &fault, every)?;
    let Some(end) = end else { return Ok(vec![fault]) };
    // The fault itself is checked to start in time.
    let room = end.saturating_sub(fault.at).as_nanos().saturating_sub(1) / every.as_nanos();
    let room = usize::try_from(room).unwrap_or(usize::MAX).saturating_add(1);
    if let Some(count) = count.filter(|count| *count > room) {
        let message = format!(
            "of the {count} occurrences, one every {}, {room} start before the scenario is over after {}",
            duration::text(every),
            duration::text(end)
        );
        return Err(Problem::new(table.span(COUNT.name), message)
            .help("lower `count` or `every`, lengthen the scenario's `duration`, or leave `count` out: the fault happens until the end then"));
    }
    let count = count.unwrap_or(room);
    if count > limits::FAULTS_MAX {
        let message = format!(
            "one occurrence every {} until the end makes {count} faults; allowed are up to {}",
            duration::text(every),
            limits::FAULTS_MAX
        );
        return Err(Problem::new(table.span(EVERY.name), message).help("raise `every`, or give a `count`"));
    }
    Ok((0..count as u32).map(|number| Fault { at: fault.at + every * number, ..fault.clone() }).collect())
}

/// Checks that one occurrence is over before the next one starts.
fn is_over_before_the_next(table: &TableReader<'_, '_>, fault: &Fault, every: Duration) -> Result<(), Problem> {
    let key = fault.kind.lasts_key();
    let span = table.span(EVERY.name);
    match fault.kind.lasts() {
        Some(lasts) if lasts < every => Ok(()),
        Some(lasts) => {
            let message =
                format!("`every` of {} is not longer than `{key}` of {}", duration::text(every), duration::text(lasts));
            Err(Problem::new(span, message)
                .help(format!("raise `every`, or lower `{key}`: one occurrence ends before the next starts")))
        }
        None if fault.kind.is_over_at_once() => Ok(()),
        None => {
            let message = format!("a fault that is repeated needs a `{key}`, as it is over before it happens again");
            Err(Problem::new(span, message).help(format!("write, for example: {key} = \"1s\"")))
        }
    }
}
