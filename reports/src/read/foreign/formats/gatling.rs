//! Gatling, `simulation.log` as text: lines of several kinds, of which those of requests have their start and end in
//! milliseconds.

use super::{
    super::{
        head::Head,
        recipe::{Layout, Recipe, Table},
    },
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "gatling",
    source: "Gatling (simulation.log)",
    is_it: |head| {
        let kinds = ["RUN\t", "ASSERTION\t", "REQUEST\t", "USER\t"];
        kinds.iter().any(|kind| head.text.starts_with(kind))
    },
    gives: Gives::Rows(recipe),
};

/// The columns since version 3.4.
const COLUMNS: [&str; 7] = ["record", "groups", "name", "start", "end", "status", "message"];

/// The columns of older versions, which have the number of the user.
const OLD: [&str; 8] = ["record", "user", "groups", "name", "start", "end", "status", "message"];

fn recipe(head: &Head) -> Recipe {
    let request = head.lines().find(|line| line.starts_with("REQUEST\t"));
    let is_old = request.is_some_and(|line| matches!(line.split('\t').nth(6), Some("OK" | "KO")));
    let names: &[&str] = if is_old { &OLD } else { &COLUMNS };
    Recipe {
        only: vec![("record", &["REQUEST"])],
        ..Recipe::new(
            Layout::Table(Table { delimiter: b'\t', names: Some(names), is_quoted: false }),
            "sent=start:ms,done=end:ms,status=status:http,error=message",
        )
    }
}
