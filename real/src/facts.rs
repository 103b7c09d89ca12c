//! Properties of this machine that affect a real run and do not follow from its seed.

use kernel::run_folder::HostInfo;
use rustix::{
    system::uname,
    time::{ClockId, clock_gettime},
};

const DAY_S: i64 = 24 * 60 * 60;

/// The machine: its operating system, number of cores and current load averages.
pub fn host() -> HostInfo {
    let name = uname();
    HostInfo {
        operating_system: format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy()),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        load_average: load_average(&std::fs::read_to_string("/proc/loadavg").unwrap_or_default()),
    }
}

/// Tells if this program was built with optimization; cargo's development profile does not do so, unless it is asked to.
pub(crate) fn is_optimized() -> bool {
    env!("OPT_LEVEL") != "0"
}

/// The model of the processors; `None` if the operating system does not name one.
pub fn processor() -> Option<String> {
    processor_model(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

/// The current date and time in UTC, in the format of RFC 3339.
pub fn now() -> String {
    rfc3339(clock_gettime(ClockId::Realtime).tv_sec)
}

/// The current date and time in UTC, in the format of RFC 3339, and the microseconds of the second.
pub(crate) fn now_exactly() -> (String, u32) {
    let now = clock_gettime(ClockId::Realtime);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "less than a second")]
    (rfc3339(now.tv_sec), (now.tv_nsec / 1_000) as u32)
}

fn load_average(text: &str) -> Option<[f64; 3]> {
    let averages: Vec<f64> = text.split_ascii_whitespace().take(3).map_while(|word| word.parse().ok()).collect();
    averages.try_into().ok()
}

/// The model of the first processor in the text of `/proc/cpuinfo`. Some architectures have none there.
fn processor_model(text: &str) -> Option<String> {
    let values = text.lines().filter_map(|line| line.split_once(':'));
    let model = values.filter(|(key, _)| key.trim() == "model name").map(|(_, value)| value.trim()).next()?;
    (!model.is_empty()).then(|| model.to_owned())
}

/// The date and time `seconds` after the start of 1970.
fn rfc3339(seconds: i64) -> String {
    let second = seconds.rem_euclid(DAY_S);
    let (year, month, day) = civil(seconds.div_euclid(DAY_S));
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of the Gregorian calendar, by Howard Hinnant's `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years start in March here, so that a leap day is the last day of a year; an era has 400 years.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + next_year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_783_015_445), "2026-07-02T18:04:05Z");
    }

    #[test]
    fn the_model_of_the_processors_is_the_first_one_or_unknown() {
        let text =
            "processor\t: 0\nmodel\t\t: 1\nmodel name\t: AMD EPYC: 7763\n\nprocessor\t: 1\nmodel name\t: another\n";
        assert_eq!(processor_model(text).as_deref(), Some("AMD EPYC: 7763"));
        assert_eq!(processor_model("processor\t: 0\nBogoMIPS\t: 50.00\n"), None);
        assert_eq!(processor_model("model name\t: \n"), None);
    }

    #[test]
    fn the_load_average_is_three_numbers_or_unknown() {
        assert_eq!(load_average("0.50 1.25 2.00 1/234 5678\n"), Some([0.5, 1.25, 2.0]));
        assert_eq!(load_average(""), None);
    }
}
