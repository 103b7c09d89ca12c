//! The page of many runs.

use kernel::experiment::sweep::SweepReport;

use super::{aligned, document, escaped, notes, plots};
use crate::{figure::Figure, many::Many};

/// The page of many runs with its plots. The same runs give the same bytes.
pub fn many(many: &Many, account: &SweepReport<'_>, figures: &[Figure]) -> String {
    let grid = many.layout.is_some();
    let tables = if grid {
        [
            ("Settings", account.settings()),
            ("Against variant 0, seed by seed", account.differences()),
            ("Over the seeds of each variant", account.spreads_by_variant()),
        ]
        .map(|(title, table)| headed(title, &aligned(&table)))
        .concat()
    } else {
        headed("Every metric over the seeds", &aligned(&account.spreads()))
    };
    let remarks = if grid { account.remarks() } else { String::new() };
    let body = [
        head(many, account),
        numbers(many, account),
        if grid { String::new() } else { aligned(&account.expectations()) },
        plots(figures),
        tables,
        remarks.lines().map(|line| format!("<p class=\"muted\">{}</p>\n", escaped(line.trim()))).collect(),
        worst(many, account),
        notes(&many.notes),
        origin(many),
    ];
    document(&many.title(), &body.concat())
}

fn head(many: &Many, account: &SweepReport<'_>) -> String {
    let (class, verdict) = if account.pass() { ("pass", "PASS") } else { ("fail", "FAIL") };
    let question = many.question.as_ref().map(|text| format!("<p>{}</p>\n", escaped(text))).unwrap_or_default();
    format!("<div class=\"verdict {class}\">{verdict}</div>\n<h1>{}</h1>\n{question}", escaped(&many.title()))
}

fn numbers(many: &Many, account: &SweepReport<'_>) -> String {
    let identity = &many.runs.identity;
    let passed = account.rows.iter().filter(|row| row.pass).count();
    let numbers = [
        ("runs", format!("{} of {}", account.rows.len(), account.planned)),
        ("of which pass", passed.to_string()),
        ("seeds", identity.seeds.to_string()),
        ("variants", identity.variants.len().to_string()),
    ];
    let items = numbers.map(|(name, value)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escaped(&value)));
    format!("<dl class=\"numbers\">\n{}</dl>\n", items.concat())
}

fn headed(title: &str, content: &str) -> String {
    if content.is_empty() { String::new() } else { format!("<h2>{title}</h2>\n{content}") }
}

fn worst(many: &Many, account: &SweepReport<'_>) -> String {
    let run = |worst: kernel::experiment::sweep::WorstRun| {
        let variant = match many.layout {
            Some(_) => format!("variant {}, ", worst.variant),
            None => String::new(),
        };
        let (seed, why, replay) = (worst.seed, escaped(&worst.why), escaped(&worst.replay));
        format!("<p>{variant}seed {seed}: {why}</p>\n<pre>{replay}</pre>\n")
    };
    headed("Worst runs", &account.worst().into_iter().map(run).collect::<String>())
}

fn origin(many: &Many) -> String {
    let identity = &many.runs.identity;
    let calibration = &identity.calibration;
    format!(
        "<p class=\"muted\">Played by version {}, calibration {} ({}).</p>\n<h2>The scenario, every default filled \
         in</h2>\n<pre>{}</pre>\n",
        escaped(&identity.version),
        escaped(&calibration.name),
        escaped(&calibration.sha256),
        escaped(&many.runs.scenario),
    )
}
