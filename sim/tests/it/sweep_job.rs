//! `sim sweep-job` prints jobs whose shards are commands that play.

use std::fs;

use tempfile::TempDir;

use crate::command::{Ended, program, sim};

const SCENARIO: &str =
    "name = \"Storm_2\"\nduration = \"1s\"\nworkload = { sizes = [\"8x8\"] }\nload = { rate = 10.0 }\n";

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("storm.toml"), SCENARIO).unwrap();
    folder
}

fn sweep_job(folder: &TempDir, arguments: &[&str]) -> Ended {
    Ended::after(sim(folder.path()).args(["sweep-job", "storm.toml"]).args(arguments))
}

const SWEEP: [&str; 10] = [
    "--seeds",
    "0..6",
    "--shards",
    "3",
    "--set",
    "load.rate=20",
    "--vary",
    "client.retry.max_attempts=1,3",
    "--out",
    "shards of 1",
];

#[test]
fn each_scheduler_has_its_job() {
    let folder = folder();
    for scheduler in ["kubernetes", "slurm", "parallel"] {
        let ended = sweep_job(&folder, &[&SWEEP[..], &["--for", scheduler]].concat());
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        // The program's path is that of this build.
        let text = ended.stdout.replace(env!("CARGO_BIN_EXE_sim"), "sim");
        insta::assert_snapshot!(format!("job_of_{scheduler}"), text);
    }
}

#[test]
fn a_shard_is_played_by_the_line_of_its_script() {
    let folder = folder();
    let script = sweep_job(&folder, &[&SWEEP[..], &["--for", "slurm"]].concat()).stdout;
    fs::write(folder.path().join("job.sh"), script).unwrap();
    for task in ["1", "2", "3"] {
        let mut shell = program("sh");
        let ended = Ended::after(shell.arg("job.sh").env("SLURM_ARRAY_TASK_ID", task).current_dir(folder.path()));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let rows = fs::read_to_string(folder.path().join(format!("shards of 1/shard-{task}/runs.jsonl"))).unwrap();
        assert_eq!(rows.lines().count(), 4, "two seeds with two variants each: {rows}");
    }
}

#[test]
fn shards_can_go_to_an_object_store() {
    let folder = folder();
    let job = |scheduler| {
        let words = ["--seeds", "0..6", "--shards", "3", "--out", "s3://bucket/sweep/", "--for", scheduler];
        sweep_job(&folder, &words).stdout
    };
    let merge = "reports merge 's3://bucket/sweep/shard-*' --out s3://bucket/sweep/all\n";
    let kubernetes = job("kubernetes");
    for part in [
        merge,
        "            - \"s3://bucket/sweep/shard-$(JOB_COMPLETION_INDEX)\"\n",
        "          workingDir: /volume\n          envFrom:\n            - secretRef:\n                name: rehearsal-store\n",
        "        - name: volume\n          emptyDir: {}\n",
    ] {
        assert!(kubernetes.contains(part), "{part}: {kubernetes}");
    }
    assert!(!kubernetes.contains("persistentVolumeClaim"), "{kubernetes}");
    let slurm = job("slurm");
    assert!(
        slurm.contains(merge) && slurm.contains("--out s3://bucket/sweep/shard-\"$SLURM_ARRAY_TASK_ID\"\n"),
        "{slurm}"
    );
    let parallel = job("parallel");
    for part in [merge, "mkdir -p runs/s3/bucket/sweep\n", "--out s3://bucket/sweep/shard-{}\n"] {
        assert!(parallel.contains(part), "{part}: {parallel}");
    }
}

#[test]
fn a_program_without_object_stores_says_so_before_it_plays() {
    let folder = folder();
    for (out, message) in [
        #[cfg(not(feature = "object-store"))]
        ("s3://bucket/run", "build it with `--features object-store`"),
        ("s3://bucket", "it has no prefix, and would fill the whole bucket"),
        ("ftp://host/run", "its scheme is unknown"),
    ] {
        for seeds in [&[][..], &["--seeds", "0..2"]] {
            let ended = Ended::after(sim(folder.path()).args(["run", "storm.toml", "--out", out]).args(seeds));
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
            assert!(ended.stderr.contains(message), "{ended:?}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was written");
}

#[test]
fn a_job_that_cannot_be_played_is_wrong_input() {
    let folder = folder();
    for (arguments, message) in [
        (
            &["--seeds", "0..6", "--shards", "7"][..],
            "7 shards are more than the 6 seeds of 0..6; `--shards 6` is the most",
        ),
        (&["--seeds", "0..6", "--shards", "0"], "invalid value '0' for '--shards <N>'"),
        (&["--seeds", "0..6", "--shards", "2", "--set", "load.rat=1"], "did you mean `rate`?"),
        (&["--seeds", "0..6", "--shards", "2", "--vary", "load.rat=1,2"], "did you mean `rate`?"),
        (&["--seeds", "0..6", "--shards", "2", "--calibration", "missing.toml"], "missing.toml"),
        (&["--seeds", "0..6", "--shards", "2", "--out", "s4://bucket/sweep"], "its scheme is unknown"),
    ] {
        let ended = sweep_job(&folder, &[arguments, &["--for", "kubernetes"]].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        assert!(ended.stderr.contains(message), "{ended:?}");
    }
}
