"""The process that holds models lets others go first, in whichever session it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.children import environment
from trainer.inference.service.priority import NICENESS

SCRIPT = """
import os
from pathlib import Path
from trainer.inference.service.priority import yield_to_others
session = Path("/proc/self/autogroup").read_text
before = session()
yield_to_others()
print(os.nice(0), before, session(), sep="|")
"""


def nice_after(*, own_session: bool) -> list[str]:
    """Return how nice a process that gave way is, and its session before and after.

    A session that Linux does not group, such as that of a container's first process, tells nothing.
    """
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(
        command, env=environment(), start_new_session=own_session, capture_output=True, check=True
    )
    return [told.strip() for told in done.stdout.decode().split("|")]


@pytest.mark.skipif(
    not Path("/proc/self/autogroup").exists(), reason="this kernel does not group sessions"
)
def test_niceness_reaches_beyond_a_session_of_its_own_and_spares_that_of_others() -> None:
    nicer = str(min(os.nice(0) + NICENESS, 19))
    process, before, after = nice_after(own_session=True)
    assert process == nicer
    assert after == before.replace("nice 0", f"nice {NICENESS}")
    process, before, after = nice_after(own_session=False)
    assert process == nicer
    assert after == before
