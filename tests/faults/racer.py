"""A process that resumes runs the moment it is told to, for races; it starts no real workers.

What it starts in a worker's place holds the run's lock as a worker does, and does nothing else.
Told ``<run id> <time on the monotonic clock>`` in a line, it answers with a line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from trainer import launch
from trainer.errors import ConflictError
from trainer.runs import RunStore


class LockHolders:
    """Stands in for the module ``subprocess`` where workers are started."""

    DEVNULL = subprocess.DEVNULL

    @staticmethod
    def Popen(_: object, **options: Any) -> subprocess.Popen[bytes]:  # noqa: N802
        return subprocess.Popen(["sleep", "600"], **options)


def resume(store: RunStore, run_id: str) -> dict[str, Any]:
    """Resume a run; tell whether this process has won it, and what it was told and when."""
    began = time.monotonic()
    try:
        store.resume(run_id)
    except ConflictError as error:
        seconds = time.monotonic() - began
        return {"won": False, "seconds": seconds, "told": str(error), "status": error.exit_code}
    return {"won": True, "seconds": time.monotonic() - began, "told": "", "status": 0}


def main(home: str) -> None:
    vars(launch)["subprocess"] = LockHolders
    store = RunStore(home)
    for line in sys.stdin:
        run_id, start = line.split()
        while time.monotonic() < float(start):
            continue
        sys.stdout.write(json.dumps(resume(store, run_id)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
