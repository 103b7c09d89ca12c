"""The aggregation behind a report, in pandas: 1 s windows of the requests, their counts and latency percentiles, the
windows by completion, and percentiles of the whole run. Prints the seconds it took, reading included.

    python3 aggregate.py RUN_FOLDER
"""

import sys
import time

import pandas as pd


begun = time.monotonic()
rows = pd.read_json(sys.argv[1] + "/requests.jsonl", lines=True)
read = time.monotonic()

rows["ok"] = rows["status"] == "OK"
rows["uncorrected_us"] = rows["done_us"] - rows["sent_us"]
by_intention = rows.groupby(rows["intended_us"] // 1_000_000)
windows = by_intention.agg(
    offered=("id", "size"),
    succeeded=("ok", "sum"),
    attempts=("attempts", "sum"),
    slowest=("latency_us", "max"),
)
latency = by_intention["latency_us"].quantile([0.5, 0.95, 0.99], interpolation="higher").unstack()
uncorrected = by_intention["uncorrected_us"].quantile([0.5, 0.99], interpolation="higher").unstack()
completed = rows.groupby(rows["done_us"] // 1_000_000)["ok"].agg(["size", "sum"])
overall = rows["latency_us"].quantile([0.5, 0.75, 0.9, 0.95, 0.99, 0.999], interpolation="higher")
statuses = rows["status"].value_counts()
servers = rows["server"].value_counts()
done = time.monotonic()

print(len(windows), len(latency), len(uncorrected), len(completed), len(overall), len(statuses), len(servers))
print(f"read {read - begun:.2f} s, aggregate {done - read:.2f} s, together {done - begun:.2f} s")
