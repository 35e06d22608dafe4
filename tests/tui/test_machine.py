"""The meter of this machine, on the real machine."""

from __future__ import annotations

import time

from trainer.tui.machine import MachineMeter


def test_the_meter_reads_by_itself_until_it_is_stopped() -> None:
    meter = MachineMeter()
    meter.start()
    deadline = time.monotonic() + 20
    while meter.latest is None and time.monotonic() < deadline:
        time.sleep(0.01)
    meter.stop()
    assert meter.latest is not None
    assert 0 < meter.latest.host.ram_bytes < meter.latest.host.ram_total_bytes
