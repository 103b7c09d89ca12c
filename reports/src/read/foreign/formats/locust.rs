//! Locust, a row a request: the CSV that a listener of the event `request` writes. Locust itself writes none, so the
//! names of its arguments are those of the columns, in the notation that the author likes.

use super::{
    super::{
        head::Head,
        names::folded,
        recipe::{Layout, Recipe},
    },
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "locust-requests",
    source: "Locust (event request)",
    is_it: |head| ["requesttype", "name", "responsetime"].iter().all(|name| column(head, &[name]).is_some()),
    gives: Gives::Rows(recipe),
};

/// Returns the first column with one of these names, in lower case and without anything but letters and digits. A name with
/// signs of a mapping in it is none of them.
fn column<'a>(head: &'a Head, names: &[&str]) -> Option<&'a str> {
    let plain = head.header.iter().filter(|cell| !cell.contains([',', ':', '=']));
    names.iter().find_map(|name| plain.clone().find(|cell| folded(cell) == *name)).map(String::as_str)
}

fn recipe(head: &Head) -> Recipe {
    let mut columns = Vec::new();
    let mut map = |field: &str, names: &[&str], unit: &str| {
        let found = column(head, names);
        columns.extend(found.map(|name| format!("{field}={name}{unit}")));
        found.is_some()
    };
    if !map("sent", &["starttime"], "") {
        // A listener is called when the request has ended, so that a time of its own is that of the end.
        map("done", &["timestamp", "time", "endtime"], "");
    }
    map("latency", &["responsetime"], ":ms");
    map("error", &["exception", "error"], "");
    map("status", &["statuscode", "responsecode", "status"], ":http");
    map("success", &["success"], "");
    Recipe::new(Layout::with_header(head.delimiter), &columns.join(","))
}
