"""A job of Spark Structured Streaming: requests, failures and p95 by windows, and the faults that are open, from the rows of runs.

usage: spark_job.py BROKER TOPIC OUT [SECONDS]

It reads the topic from its beginning, drops duplicates by run and number, and goes on until no row comes for SECONDS, or for ever without.
After each batch OUT has the windows and incidents so far, as JSON. A request counts in the window in which it ended; a time is that of
the run, in microseconds since it began. A percentile is the value at rank ceil(share * count), as everywhere in Rehearsal.
"""

import json
import os
import sys
import time

from pyspark import cloudpickle
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

import source

WINDOW = "2 seconds"

ROW = """
    run string, world string, file string, seq long, row struct<
        id long, intended_us long, done_us long, latency_us long, status string,
        at_us long, event string, target string, cause string, fault long>
"""


def rows(spark, broker, topic):
    """The rows of runs, each once, with the time of the run as their time."""
    stream = spark.readStream.format("kafka_topic").option("broker", broker).option("topic", topic).load()
    parsed = stream.select(f.from_json("value", ROW).alias("message")).select("message.*")
    time_us = f.coalesce("row.done_us", "row.intended_us", "row.at_us", f.lit(0))
    timed = parsed.withColumn("time", f.timestamp_micros(time_us)).withWatermark("time", "10 minutes")
    return timed.dropDuplicates(["run", "seq"])


def windows(rows):
    """Requests, failures and p95 of each window. Requests that were not sent have no latency."""
    requests = rows.where("file = 'requests'")
    return requests.groupBy("run", f.window("time", WINDOW).alias("window")).agg(
        f.count("*").alias("requests"),
        f.sum(f.expr("cast(row.status not in ('OK', 'DEGRADED') as int)")).alias("failures"),
        f.expr("percentile_disc(0.95) within group (order by row.latency_us)").alias("p95_us"),
    )


def incidents(rows):
    """The faults of each target, with their start, and their end if they are over."""
    faults = rows.where("file = 'events' and row.event in ('fault_start', 'fault_end')")
    return faults.groupBy("run", "row.fault", "row.target", "row.cause").agg(
        f.min(f.expr("if(row.event = 'fault_start', row.at_us, null)")).alias("start_us"),
        f.max(f.expr("if(row.event = 'fault_end', row.at_us, null)")).alias("end_us"),
    )


class Results:
    """What the batches so far come to."""

    def __init__(self, path):
        self.path, self.windows, self.incidents = path, {}, {}
        # Until there is a first row, Spark starts.
        self.changed = float("inf")

    def take_windows(self, batch, _):
        for row in batch.select("*", f.unix_micros("window.start").alias("start_us")).collect():
            values = {key: row[key] for key in ("requests", "failures", "p95_us")}
            self.windows[row["run"], row["start_us"]] = values
        self.write(batch)

    def take_incidents(self, batch, _):
        for row in batch.collect():
            values = {"kind": row["cause"], "start_us": row["start_us"], "end_us": row["end_us"]}
            self.incidents[row["run"], row["fault"], row["target"]] = values
        self.write(batch)

    def write(self, batch):
        if batch.isEmpty():
            return
        self.changed = time.monotonic()
        windows = [{"run": run, "start_us": start, **values} for (run, start), values in sorted(self.windows.items())]
        incidents = [
            {"run": run, "fault": fault, "target": target, **values, "open": values["end_us"] is None}
            for (run, fault, target), values in sorted(self.incidents.items())
        ]
        with open(self.path + ".new", "w") as file:
            json.dump({"windows": windows, "incidents": incidents}, file, indent=1)
        os.replace(self.path + ".new", self.path)


def main():
    broker, topic, path, *rest = sys.argv[1:]
    patience = float(rest[0]) if rest else float("inf")
    builder = SparkSession.builder.appName("rehearsal").master("local[2]")
    settings = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "1", "spark.sql.session.timeZone": "UTC"}
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    # The workers of Spark do not have this folder on their path.
    cloudpickle.register_pickle_by_value(source)
    spark.dataSource.register(source.Topic)
    results = Results(path)
    queries = [
        what(rows(spark, broker, topic)).writeStream.outputMode("update").foreachBatch(take).start()
        for what, take in ((windows, results.take_windows), (incidents, results.take_incidents))
    ]
    print("the job runs", flush=True)
    while all(query.isActive for query in queries) and time.monotonic() - results.changed < patience:
        time.sleep(0.2)
    failures = [query.exception() for query in queries if query.exception()]
    for query in queries:
        query.stop()
    spark.stop()
    if failures:
        sys.exit(str(failures[0]))


if __name__ == "__main__":
    main()
