//! vegeta, `vegeta encode --to csv`: a table without a header.

use super::{
    super::{
        head::Head,
        recipe::{Layout, Recipe},
    },
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "vegeta-csv",
    source: "vegeta (encode --to csv)",
    is_it,
    gives: Gives::Rows(|_| {
        Recipe::new(
            Layout::without_header(b',', &COLUMNS),
            "sent=timestamp:ns,latency=latency:ns,status=code:http,error=error",
        )
    }),
};

const COLUMNS: [&str; 12] = [
    "timestamp",
    "code",
    "latency",
    "bytes_out",
    "bytes_in",
    "error",
    "body",
    "attack",
    "seq",
    "method",
    "url",
    "headers",
];

/// The first line has a time in nanoseconds, a status and a latency where others have names.
fn is_it(head: &Head) -> bool {
    // Older versions have no headers of the response, or neither method nor address.
    if !(9..=COLUMNS.len()).contains(&head.header.len()) || head.delimiter != b',' {
        return false;
    }
    head.whole_number(0).is_some_and(|ns| ns >= 100_000_000_000_000_000)
        && head.whole_number(1).is_some_and(|code| code < 1000)
        && [2, 3, 4, 8].into_iter().all(|index| head.whole_number(index).is_some())
}
