"""Compares what a job has computed from a stream with what `reports` says of the run's folder.

usage: compare.py spark RESULTS FOLDER    where RESULTS is what spark_job.py writes
       compare.py flink OUTPUT FOLDER     where OUTPUT is what flink_job.py prints

`reports`, or the command in REHEARSAL_REPORTS, is given the requests that ended in each window, and the folder. Exits with 0 if requests,
failures and p95 of each window, and the start and end of each fault, are equal; with 1 if not; with 3 if there is nothing yet.
"""

import collections
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

WINDOW_US = 2_000_000


def of_spark(path):
    with open(path) as file:
        results = json.load(file)
    windows = {}
    for window in results["windows"]:
        p95 = window["p95_us"]
        windows[window["start_us"]] = (window["requests"], window["failures"], p95 and round(p95))
    incidents = {(fault["fault"], fault["target"]): (fault["start_us"], fault["end_us"]) for fault in results["incidents"]}
    return windows, incidents


def of_flink(path):
    """The last change of each window and each incident."""
    windows, incidents = {}, {}
    for line in open(path):
        change = re.match(r"(window|incident)> \+[IU]\[(.*)\]$", line.strip())
        if change:
            fields = [None if field == "null" else field for field in change[2].split(", ")]
            numbers = [field and int(field) for field in fields[-4:]] if change[1] == "window" else None
            if numbers:
                windows[numbers[0]] = tuple(numbers[1:])
            else:
                _, fault, target, _, start, end = fields
                incidents[int(fault), target] = (int(start), end and int(end))
    return windows, incidents


def reported(run, out):
    command = shlex.split(os.environ.get("REHEARSAL_REPORTS", "reports"))
    output = subprocess.run([*command, run, "--json", "--out", out], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(output.stdout)


def of_folder(folder):
    by_window = collections.defaultdict(list)
    with open(os.path.join(folder, "requests.jsonl")) as file:
        for line in file:
            request = json.loads(line)
            ended = request["done_us"] if request["done_us"] is not None else request["intended_us"]
            by_window[ended // WINDOW_US * WINDOW_US].append(line)
    windows = {}
    with tempfile.TemporaryDirectory() as scratch:
        for start, lines in sorted(by_window.items()):
            part = os.path.join(scratch, f"{start}.jsonl")
            with open(part, "w") as file:
                file.writelines(lines)
            overall = reported(part, os.path.join(scratch, str(start)))["summary"]["overall"]
            p95 = overall["latency_p95"]
            failures = overall["requests"] - overall["succeeded"]
            windows[start] = (overall["requests"], failures, p95 and round(p95 * 1e6))
        faults = reported(folder, os.path.join(scratch, "run"))["faults"]
    incidents = {
        (fault["index"], target): (fault["start_us"], fault["lifted_us"]) for fault in faults for target in fault["targets"]
    }
    return windows, incidents


def main():
    job, results, folder = sys.argv[1:]
    windows, incidents = {"spark": of_spark, "flink": of_flink}[job](results)
    if not windows:
        print("there is nothing yet", file=sys.stderr)
        sys.exit(3)
    expected_windows, expected_incidents = of_folder(folder)
    print(f"{job} and reports: window | requests | failures | p95")
    for start in sorted(expected_windows.keys() | windows.keys()):
        ours, theirs = expected_windows.get(start), windows.get(start)
        shown = " | ".join(f"{a} {'=' if a == b else 'but'} {b}" for a, b in zip(theirs or ["none"] * 3, ours or ["none"] * 3))
        print(f"  {start / 1e6:g} s to {(start + WINDOW_US) / 1e6:g} s: {shown} us")
    for key in sorted(expected_incidents.keys() | incidents.keys()):
        ours, theirs = expected_incidents.get(key), incidents.get(key)
        print(f"  fault {key[0]} of {key[1]}, start and end: {theirs} {'=' if theirs == ours else 'but'} {ours}")
    sys.exit(windows != expected_windows or incidents != expected_incidents)


main()
