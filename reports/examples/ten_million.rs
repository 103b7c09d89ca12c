//! Writes a run folder with many requests to measure reports with: `ten_million DIR [REQUESTS]`.
//!
//! Ten thousand requests a second on four servers, latencies of some milliseconds with a long tail; for a twentieth of
//! the time one server stands still, so that a quarter of the requests take a second more and some fail.

use std::{
    env, fs,
    io::{self, BufWriter, Write},
    path::Path,
};

const PER_SECOND: u64 = 10_000;

fn main() -> io::Result<()> {
    let mut words = env::args().skip(1);
    let place = words.next().ok_or_else(|| io::Error::other("name a folder to write"))?;
    let count: u64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(10_000_000);
    let place = Path::new(&place);
    fs::create_dir_all(place)?;
    let seconds = count.div_ceil(PER_SECOND);
    let frozen = seconds / 2..seconds / 2 + seconds.div_ceil(20);
    fs::write(place.join("scenario.toml"), scenario(seconds, &frozen))?;
    fs::write(place.join("run.json"), "{\"world\":\"sim\",\"seed\":1,\"version\":\"0.1.0\"}\n")?;
    let event = |second: u64, event: &str| {
        let at_us = second * 1_000_000;
        format!(
            "{{\"at_us\":{at_us},\"source\":\"nemesis\",\"event\":\"{event}\",\"target\":\"server-1\",\"cause\":\"freeze\",\"fault\":0}}\n"
        )
    };
    fs::write(place.join("events.jsonl"), event(frozen.start, "fault_start") + &event(frozen.end, "fault_end"))?;
    let mut file = BufWriter::new(fs::File::create(place.join("requests.jsonl"))?);
    let mut state = 1_u64;
    for id in 0..count {
        // An even spread is enough here: Knuth's multiplicative generator.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let drawn = (state >> 40) as f64 / (1_u64 << 24) as f64;
        let intended_us = id * 1_000_000 / PER_SECOND;
        let suffers = id % 4 == 1 && frozen.contains(&(intended_us / 1_000_000));
        let usual_us = (2_000.0 - 3_000.0 * (1.0 - drawn).ln()) as u64;
        let latency_us = usual_us + if suffers { 1_000_000 } else { 0 };
        let (status, attempts) = match suffers {
            true if drawn < 0.1 => ("DEADLINE_EXCEEDED", 2),
            true => ("OK", 2),
            false => ("OK", 1),
        };
        writeln!(
            file,
            "{{\"id\":{id},\"intended_us\":{intended_us},\"sent_us\":{},\"done_us\":{},\"latency_us\":{latency_us},\
             \"status\":\"{status}\",\"server\":\"server-{}\",\"attempts\":{attempts},\"failovers\":{},\"size\":\"256x256\"}}",
            intended_us + 12,
            intended_us + latency_us,
            id % 4,
            attempts - 1,
        )?;
    }
    file.flush()
}

fn scenario(seconds: u64, frozen: &std::ops::Range<u64>) -> String {
    format!(
        "name = \"ten_million\"\nduration = \"{seconds}s\"\n[servers]\nreplicas = 4\n[load]\nrate = {PER_SECOND}.0\n\
         [[fault]]\nat = \"{}s\"\nkind = \"freeze\"\ntarget = \"server-1\"\nduration = \"{}s\"\n",
        frozen.start,
        frozen.end - frozen.start,
    )
}
