//! Reconnecting: gRPC's connection-backoff document, against a server that stays down.

use super::*;

/// The times at which the client connects to `server-1`, which is killed at 1 s, over an hour.
fn connecting_s(seed: u64) -> Vec<f64> {
    let scenario = "name = 'backoff'\nduration = '3600s'\nload.rate = 0.01\nworkload.sizes = ['64x64']\n\
        [[fault]]\nat = '1s'\nkind = 'crash'\ntarget = 'server-1'";
    let scenario = Scenario::parse("backoff.toml", scenario, &[]).unwrap();
    let records =
        run(&Plan { scenario, seed, branches: Vec::new(), calibration: calibration(), app: None }, &Default::default())
            .unwrap()
            .records;
    let connecting = events(&records, Event::Connecting).filter(|row| row.target.as_deref() == Some("server-1"));
    connecting.map(|row| row.at_us as f64 / 1e6).collect()
}

#[test]
fn connecting_backs_off_by_the_grpc_document() {
    for seed in 0..5 {
        let times = connecting_s(seed);
        // At the start, and as soon as the connection is lost.
        assert_eq!(times[..2], [0.0, 1.000_05], "seed {seed}");
        let gaps: Vec<_> = times[1..].windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.len() > 30, "seed {seed}: {} tries in an hour", gaps.len());
        assert!((gaps[0] - 1.0).abs() < 1e-5, "seed {seed}: the first backoff is not jittered, and was {}", gaps[0]);
        let mut backoff: f64 = 1.0;
        for gap in &gaps[1..] {
            backoff = (backoff * 1.6).min(120.0);
            let bounds = backoff * 0.8 - 1e-3..=backoff * 1.2 + 1e-3;
            assert!(bounds.contains(gap), "seed {seed}: {gap} s is not within 20 % of {backoff} s");
        }
        let longest = gaps.iter().copied().fold(0.0, f64::max);
        assert!(longest > 125.0, "seed {seed}: no jitter beyond the maximum, {longest} s");
    }
}

#[test]
fn backoff_starts_again_after_a_connection() {
    let records = records_of(
        "duration = '60s'\nload.rate = 1\nservers.replicas = 1\n\
         [[fault]]\nat = '1s'\nkind = 'crash'\ntarget = 'server-0'\nrestart_after = '20s'\n\
         [[fault]]\nat = '50s'\nkind = 'crash'\ntarget = 'server-0'",
    );
    let connecting: Vec<_> = events(&records, Event::Connecting).map(|row| row.at_us).collect();
    let second_loss = connecting.iter().position(|time| *time == 50_000_050).unwrap();
    assert_eq!(connecting[second_loss + 1], 51_000_050);
}
