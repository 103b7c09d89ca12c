//! The page of a search for boundaries.

use super::{aligned, document, escaped, notes, plots};
use crate::{figure::Figure, tipping::Tipping};

/// The page of a search with its plot. The same folder gives the same bytes.
pub fn tipping(tipping: &Tipping, figures: &[Figure]) -> String {
    let tip = &tipping.tip;
    let body = [
        head(tipping),
        numbers(tipping),
        plots(figures),
        format!("<h2>Where it tips</h2>\n{}", aligned(&tip.boundary_table())),
        replays(tipping),
        format!("<h2>Every value that was asked</h2>\n{}", aligned(&tip.values())),
        notes(&tip.remarks()),
        origin(tipping),
    ];
    document(&tipping.title(), &body.concat())
}

fn head(tipping: &Tipping) -> String {
    let question = tipping.question.as_ref().map(|text| format!("<p>{}</p>\n", escaped(text))).unwrap_or_default();
    let (title, verdict) = (escaped(&tipping.title()), tipping.tip.verdict());
    let verdict = escaped(verdict.trim_start_matches("TIPS").trim());
    format!("<div class=\"verdict none\">TIPS</div>\n<h1>{title}</h1>\n{question}<p>{verdict}</p>\n")
}

fn numbers(tipping: &Tipping) -> String {
    let points = &tipping.tip.points;
    let numbers = [
        ("boundaries", tipping.boundaries().count().to_string()),
        ("values", points.len().to_string()),
        ("of which open", points.iter().filter(|point| !point.decided).count().to_string()),
        ("runs", points.iter().map(|point| point.runs).sum::<u64>().to_string()),
    ];
    let items = numbers.map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"));
    format!("<dl class=\"numbers\">\n{}</dl>\n", items.concat())
}

/// A run on each side.
fn replays(tipping: &Tipping) -> String {
    let replay = |(side, replay): &(kernel::experiment::threshold::TestOutcome, String)| {
        format!("<p>a run that {}</p>\n<pre>{}</pre>\n", side.name(), escaped(replay))
    };
    tipping.tip.replays().iter().map(replay).collect()
}

fn origin(tipping: &Tipping) -> String {
    let identity = &tipping.tip.identity;
    let calibration = &identity.calibration;
    format!(
        "<p class=\"muted\">Played by version {}, calibration {} ({}).</p>\n<h2>The scenario, every default filled \
         in</h2>\n<pre>{}</pre>\n",
        escaped(&identity.version),
        escaped(&calibration.name),
        escaped(&calibration.sha256),
        escaped(&tipping.tip.scenario),
    )
}
