"""The process that holds models lets others go first, in whichever session it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.children import environment
from trainer.inference.service.priority import NICENESS

AUTOGROUP = Path("/proc/self/autogroup")
SCRIPT = """
import os
from pathlib import Path
from trainer.inference.service.priority import yield_to_others
yield_to_others()
print(os.nice(0), Path("/proc/self/autogroup").read_text().split()[-1])
"""


def nice_after(*, own_session: bool) -> list[str]:
    """Return how nice a process that gave way is, and its session."""
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(
        command, env=environment(), start_new_session=own_session, capture_output=True, check=True
    )
    return done.stdout.decode().split()


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel does not group sessions")
def test_niceness_reaches_beyond_a_session_of_its_own_and_spares_that_of_others() -> None:
    process, session = os.nice(0), AUTOGROUP.read_text().split()[-1]
    nicer = str(min(process + NICENESS, 19))
    assert nice_after(own_session=True) == [nicer, str(NICENESS)]
    assert nice_after(own_session=False) == [nicer, session]
