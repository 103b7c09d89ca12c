"""What experiments observe: which servers run, and the metrics of a load."""

import json
from pathlib import Path

from chaoslib.exceptions import ActivityFailed

from chaosrehearsal import WITH_SUMMARY, load_words, real, summary_of

__all__ = ["metric_of_load", "metric_of_run", "servers_running"]


def servers_running():
    """Returns the number of servers that run and are not frozen."""
    entries = json.loads(real("list", "--json"))
    return sum(1 for entry in entries if entry["kind"] == "server" and not entry["frozen"])


def metric_of_load(metric="success_rate", duration="2s", rate=10, servers=None, settings=None, options=None):
    """Puts a short load on the servers, and returns a metric of it, such as `success_rate` or `latency_p95` in seconds. `options` are
    further words of the load, such as ["--tls-ca", "ca.pem"]."""
    words = load_words(servers, rate, duration, settings, options)
    return _metric(summary_of(real(*words, codes=WITH_SUMMARY)), metric)


def metric_of_run(folder, metric="success_rate", during=None):
    """Returns a metric of a run folder, such as that of the action `load`; of one of its phases with `during`, such as `fault-0`."""
    try:
        summary = json.loads(Path(folder, "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ActivityFailed(f"{folder} has no summary of a run that has ended: {error}") from error
    if during is None:
        return _metric(summary, metric)
    for phase in summary["phases"]:
        if phase["phase"] == during:
            return _metric({"overall": phase["metrics"]}, metric)
    known = ", ".join(phase["phase"] for phase in summary["phases"])
    raise ActivityFailed(f"the run in {folder} has no phase `{during}`; it has {known}")


def _metric(summary, metric):
    metrics = summary["overall"]
    if metric not in metrics:
        raise ActivityFailed(f"there is no metric `{metric}`; there are {', '.join(sorted(metrics))}")
    return metrics[metric]
