//! Columns by their names: which fields the names of a log say that they hold.

use super::super::columns::{Column, Columns, FIELDS, split_unit};

/// The names of columns for each field in lower case, without units and without anything but letters and digits. The first
/// ones are surer.
const NAMES: [(&str, &[&str]); 8] = [
    (
        "status",
        &[
            "grpcstatus",
            "grpccode",
            "grpcstatuscode",
            "httpstatus",
            "httpstatuscode",
            "statuscode",
            "status",
            "responsecode",
            "responsestatus",
            "resultcode",
            "code",
            "rc",
            "result",
            "outcome",
        ],
    ),
    (
        "latency",
        &[
            "latency",
            "duration",
            "elapsed",
            "elapsedtime",
            "responsetime",
            "requestduration",
            "requesttime",
            "totaltime",
            "timetaken",
            "took",
            "dur",
            "rt",
        ],
    ),
    ("intended", &["intended", "intendedstart", "scheduled", "scheduledat", "intendedtime"]),
    (
        "sent",
        &[
            "sent",
            "sentat",
            "start",
            "starttime",
            "startedat",
            "requeststart",
            "begin",
            "offset",
            "timestamp",
            "datetime",
            "time",
            "ts",
            "date",
        ],
    ),
    ("done", &["done", "doneat", "end", "endtime", "endedat", "finished", "finishedat", "completedat"]),
    (
        "server",
        &["server", "backend", "upstream", "upstreamhost", "upstreamaddr", "host", "target", "peer", "instance"],
    ),
    ("error", &["error", "errormessage", "err", "exception", "failuremessage"]),
    ("success", &["success", "succeeded", "passed", "ok"]),
];

/// The columns that each field may have in a log, the surest first.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    own: Vec<(&'static str, Column)>,
    by_name: Vec<(&'static str, Column)>,
}

impl Candidates {
    /// Returns the candidates in a log with these columns, or more that its first lines do not have.
    pub(super) fn among(present: &[String]) -> Self {
        let mut candidates = Self::default();
        for field in FIELDS {
            // The name without a unit comes first, as the user may have chosen it.
            for name in [field.to_owned(), format!("{field}_us")] {
                candidates.own.push((field, Column::named(&name)));
            }
        }
        for (field, names) in NAMES {
            // Of nested objects the last key counts, too, but less.
            for ending in [whole, last_key] {
                for wanted in names {
                    let of_name = present.iter().filter(|name| folded(split_unit(ending(name)).0) == *wanted);
                    candidates.by_name.extend(of_name.map(|name| (field, Column::named(name))));
                }
            }
        }
        candidates
    }

    /// Returns the names of all columns.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.own.iter().chain(&self.by_name).map(|(_, column)| column.name.as_str())
    }

    /// Adds to `columns` those of the fields that have none, as far as the log `has` them, and returns what was guessed.
    pub(super) fn complete(&self, columns: &mut Columns, has: impl Fn(&str) -> bool) -> Vec<(&'static str, Column)> {
        for (field, column) in self.own.iter().filter(|(_, column)| has(&column.name)) {
            columns.add(field, column.clone());
        }
        let mut guessed = Vec::new();
        for (field, column) in self.by_name.iter().filter(|(_, column)| has(&column.name)) {
            let is_time = matches!(*field, "intended" | "sent" | "done" | "latency");
            let is_taken = columns.iter().any(|(_, taken)| taken.name == column.name);
            // More times than are needed could only contradict.
            if columns.get(field).is_none() && !is_taken && !(is_time && columns.have_times()) {
                columns.add(field, column.clone());
                guessed.push((*field, column.clone()));
            }
        }
        guessed
    }
}

fn whole(name: &str) -> &str {
    name
}

fn last_key(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Returns a name in lower case and without anything but letters and digits.
pub(super) fn folded(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guessed(names: &[&str], mapped: &str) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut columns: Columns = mapped.parse().unwrap();
        let guessed = Candidates::among(&names).complete(&mut columns, |name| names.iter().any(|known| known == name));
        guessed.into_iter().map(|(field, column)| format!("{field}={}", column.name)).collect()
    }

    #[test]
    fn names_say_what_they_hold() {
        assert_eq!(
            guessed(&["startTime", "durationMs", "http_status", "host"], ""),
            ["status=http_status", "latency=durationMs", "sent=startTime", "server=host"]
        );
        assert_eq!(
            guessed(&["ts", "elapsed (s)", "code", "path"], ""),
            ["status=code", "latency=elapsed (s)", "sent=ts"]
        );
        let nested = ["@timestamp", "http.response.status_code", "http.duration"];
        assert_eq!(
            guessed(&nested, ""),
            ["status=http.response.status_code", "latency=http.duration", "sent=@timestamp"]
        );
        assert!(guessed(&["a", "b", "intended_us", "latency_us"], "").is_empty(), "rows of this project");
    }

    #[test]
    fn what_is_mapped_is_not_guessed() {
        let names = ["ts", "rt", "code", "end"];
        assert_eq!(guessed(&names, "status=code,latency=rt:ms"), ["sent=ts"]);
        assert_eq!(guessed(&names, "done=ts,latency=rt:ms"), ["status=code"], "no third time");
    }
}
