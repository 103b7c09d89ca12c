"""A control that writes the report of a run after an experiment, and names it in the journal.

Its configuration is the folder: {"name": "report", "provider": {"type": "python", "module": "chaosrehearsal.control",
"arguments": {"folder": "runs/chaos"}}}. The program is `reports`, or the command in REHEARSAL_REPORTS.
"""

import logging
import os
import shlex
import subprocess

logger = logging.getLogger("chaostoolkit")


def after_experiment_control(context, state, folder=None, **_):
    """Writes the report of the run in `folder`."""
    if folder is None:
        return
    command = [*shlex.split(os.environ.get("REHEARSAL_REPORTS", "reports")), folder, "--force"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.warning("no report of %s: %s", folder, error)
        return
    # The exit code is the verdict of the run, whose report has been written in any case but 2 and 3.
    if done.returncode in (2, 3):
        logger.warning("no report of %s: %s", folder, done.stderr.strip())
        return
    state["rehearsal"] = {"run": folder, "report": os.path.join(folder, "report", "report.html"), "text": done.stdout}
