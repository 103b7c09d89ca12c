"""Chaos Toolkit on servers that Rehearsal runs: `actions`, `probes` and `control`.

Every function calls the program `real`, or the command in the environment variable REHEARSAL_REAL, such as
`kubectl exec -n rehearsal sobel-0 -- /real` for a server in a cluster.
"""

import json
import os
import shlex
import subprocess

from chaoslib.exceptions import ActivityFailed

__version__ = "0.1.0"

# The exit codes of `real load` after which there is a summary: its expectations hold, or one of them does not.
WITH_SUMMARY = (0, 1)


def real(*words, timeout=600.0, codes=(0,)):
    """Runs `real` with these words and returns its output; the activity fails if its exit code is not one of `codes`."""
    command = [*shlex.split(os.environ.get("REHEARSAL_REAL", "real")), *map(str, words)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except FileNotFoundError as error:
        raise ActivityFailed(f"there is no `{command[0]}`; install it, or name it with REHEARSAL_REAL") from error
    except subprocess.TimeoutExpired as error:
        raise ActivityFailed(f"`{shlex.join(command)}` has not ended after {timeout} s") from error
    if done.returncode not in codes:
        said = done.stderr.strip() or done.stdout.strip()
        raise ActivityFailed(f"`{shlex.join(command)}` ended with {done.returncode}: {said}")
    return done.stdout


def load_words(servers, rate, duration, settings, options=None):
    """Returns the words of a load."""
    words = ["load", "--json", "--quiet", "--duration", duration, "--rate", rate]
    if servers:
        words += ["--servers", ",".join(servers)]
    for setting in settings or []:
        words += ["--set", setting]
    return words + (options or [])


def summary_of(text):
    """Returns the summary that `real load --json` has printed."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise ActivityFailed(f"the load has printed no summary: {text[:200]}") from error
