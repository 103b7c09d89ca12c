"""A job of Flink's Table API: requests, failures and p95 by windows, and the faults that are open, from the rows of runs.

usage: flink_job.py FOLDER

It reads files of messages, a line each, as they come into FOLDER, and prints a line for each change of a window (`window`) or of an incident
(`incident`) until it is killed. Flink's connector to Kafka is in no package of PyPI, so `bridge.py` writes the files. What is computed
is what spark_job.py computes.
"""

import os
import sys

# No Python runs in Flink's workers, so that what would start them is not needed.
os.environ["_python_worker_execution_mode"] = "process"

from pyflink.table import EnvironmentSettings, TableEnvironment  # noqa: E402

MESSAGES = """
CREATE TABLE messages (
    run STRING, file STRING, seq BIGINT,
    `row` ROW<done_us BIGINT, intended_us BIGINT, latency_us BIGINT, status STRING, at_us BIGINT, event STRING,
        target STRING, cause STRING, fault BIGINT>,
    arrived AS PROCTIME()
) WITH ('connector' = 'filesystem', 'path' = 'file://{folder}', 'format' = 'json', 'source.monitor-interval' = '1 s')
"""

# At least once is what the broker has: the first row of a number counts.
ONCE = """
CREATE TEMPORARY VIEW once AS
SELECT run, file, `row`.done_us AS done_us, `row`.intended_us AS intended_us, `row`.latency_us AS latency_us, `row`.status AS status,
    `row`.at_us AS at_us, `row`.event AS event, `row`.target AS target, `row`.cause AS cause, `row`.fault AS fault
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY run, seq ORDER BY arrived) AS occurrence FROM messages)
WHERE occurrence = 1
"""

WINDOWS = """
CREATE TABLE windows (run STRING, start_us BIGINT, requests BIGINT, failures BIGINT, p95_us BIGINT)
WITH ('connector' = 'print', 'print-identifier' = 'window')
"""

INCIDENTS = """
CREATE TABLE incidents (run STRING, fault BIGINT, target STRING, kind STRING, start_us BIGINT, end_us BIGINT)
WITH ('connector' = 'print', 'print-identifier' = 'incident')
"""

# A percentile is the value at rank ceil(share * count). Requests that were not sent have no latency.
TO_WINDOWS = """
INSERT INTO windows
SELECT run, start_us, requests, failures, latencies[CAST(CEIL(0.95 * CARDINALITY(latencies)) AS INT)]
FROM (
    SELECT run, start_us, COUNT(*) AS requests, COUNT(*) FILTER (WHERE status NOT IN ('OK', 'DEGRADED')) AS failures,
        ARRAY_SORT(ARRAY_AGG(latency_us) FILTER (WHERE latency_us IS NOT NULL)) AS latencies
    FROM (
        SELECT run, status, latency_us, COALESCE(done_us, intended_us) / {window_us} * {window_us} AS start_us
        FROM once WHERE file = 'requests'
    )
    GROUP BY run, start_us
)
"""

TO_INCIDENTS = """
INSERT INTO incidents
SELECT run, fault, target, MIN(cause), MIN(at_us) FILTER (WHERE event = 'fault_start'), MAX(at_us) FILTER (WHERE event = 'fault_end')
FROM once WHERE file = 'events' AND event IN ('fault_start', 'fault_end')
GROUP BY run, fault, target
"""

WINDOW_US = 2_000_000

# Changes of half a second are one.
SETTINGS = {
    "parallelism.default": "1",
    "table.exec.mini-batch.enabled": "true",
    "table.exec.mini-batch.allow-latency": "500 ms",
    "table.exec.mini-batch.size": "5000",
}


def main():
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for key, value in SETTINGS.items():
        tables.get_config().set(key, value)
    for statement in (MESSAGES.format(folder=os.path.abspath(sys.argv[1])), ONCE, WINDOWS, INCIDENTS):
        tables.execute_sql(statement)
    statements = tables.create_statement_set()
    for statement in (TO_WINDOWS.format(window_us=WINDOW_US), TO_INCIDENTS):
        statements.add_insert_sql(statement)
    job = statements.execute()
    print("the job runs", flush=True)
    job.wait()


main()
