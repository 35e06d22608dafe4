"""The real server: a process that listens, prints its address and ends without harm to a run."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import simple_websocket

from tests.conftest import MakeRun, point_row
from tests.texts import write_text
from tests.webapp.client import LiveClient
from tests.webapp.serving import PATIENCE_SECONDS, Server, free_port, wait_until
from trainer import trash
from trainer.config import Config
from trainer.errors import ConflictError, DataError, UsageError
from trainer.runs import RunStore
from trainer.store import process
from trainer.store.files import write_record
from trainer.store.metrics import MetricsWriter
from trainer.store.records import Meta, ProcessRecord
from trainer.trash import UNDO_SECONDS
from webapp import presence, server
from webapp.listening import address_for_people, listen, own_addresses, policy_for
from webapp.presence import Dashboard, find_running, kept_key
from webapp.security import LOOPBACK_NAMES


@pytest.fixture
def serving(home: Path) -> Iterator[Server]:
    started = Server(home, free_port())
    yield started
    started.kill()


def test_the_address_is_printed_when_it_answers(serving: Server, home: Path) -> None:
    assert serving.first_line == f"Dashboard: {serving.url}"
    status, health = serving.ask("/healthz")
    assert (status, health["home"]) == (200, str(home))
    assert serving.ask("/api/runs", headers={"Host": "rebound.example"})[0] == 403
    assert serving.end(signal.SIGINT) == (0, "The dashboard has stopped.\n", "")
    assert find_running(RunStore(home).workspace) is None
    assert not (home / "runs" / ".dashboard.json").exists()


def test_a_host_that_is_given_twice_is_refused(serving: Server) -> None:
    name = f"Host: 127.0.0.1:{serving.port}\r\n"
    with socket.create_connection(("127.0.0.1", serving.port), timeout=30) as wire:
        wire.sendall(f"GET /healthz HTTP/1.1\r\n{name}Host: evil.example\r\n\r\n".encode())
        status = wire.recv(64).split()[1]
    assert status in (b"400", b"403")


def test_a_proxy_header_changes_nothing(serving: Server) -> None:
    """gunicorn trusts such headers from this very machine unless it is told not to."""
    forged = {"SCRIPT_NAME": "/api", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil"}
    assert serving.ask("/healthz", headers=forged)[0] == 200


def test_values_are_live_over_a_real_websocket(
    serving: Server, make_run: MakeRun, store: RunStore
) -> None:
    run = make_run(status="running", process=process.identify(os.getpid()))
    pen = MetricsWriter(run.paths.metrics)
    pen.write([("points", point_row(1))])
    with LiveClient(serving.url) as page, LiveClient(serving.url) as list_page:
        page.emit("watch", {"run_id": run.run_id, "after_step": 0})
        list_page.emit("watch_runs", {})
        page.wait_for(lambda client: bool(client.named("metrics")))
        pen.write([("points", point_row(2))])
        page.wait_for(lambda client: len(client.named("metrics")) == 2)
        store.annotate(run.run_id, name="renamed")
        list_page.wait_for(lambda client: "renamed" in str(client.named("runs")))
    pen.close()
    told = page.named("metrics")
    assert [m["series"]["train_loss"]["step"] for m in told] == [[1], [2]]
    assert (told[1]["after_step"], told[1]["last_step"]) == (1, 2)


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:3000", "null"])
def test_another_site_gets_no_websocket(serving: Server, origin: str) -> None:
    with pytest.raises(simple_websocket.ConnectionError):
        LiveClient(serving.url, headers={"Origin": origin})
    LiveClient(serving.url, headers={"Origin": serving.url}).close()


def test_it_ends_at_once_with_open_pages_and_says_that_training_goes_on(
    serving: Server, make_run: MakeRun
) -> None:
    make_run(status="running", process=process.identify(os.getpid()))
    with LiveClient(serving.url), LiveClient(serving.url):
        began = time.monotonic()
        status, out, err = serving.end(signal.SIGTERM)
        assert time.monotonic() - began < server.MASTER_GRACE_SECONDS + 10
    assert (status, err) == (0, "")
    assert out == ("The dashboard has stopped. Training goes on; see it with llm-trainer status.\n")


def test_a_second_start_names_the_first(serving: Server, home: Path) -> None:
    again = Server(home, serving.port)
    assert again.first_line == f"Dashboard: {serving.url} (it was running already)"
    assert again.process.wait(PATIENCE_SECONDS) == 0
    again.kill()
    assert serving.ask("/healthz")[0] == 200


def test_a_killed_dashboard_leaves_its_port_and_comes_back(serving: Server, home: Path) -> None:
    os.kill(serving.process.pid, signal.SIGKILL)
    serving.process.wait(PATIENCE_SECONDS)
    again = Server(home, serving.port)
    try:
        assert again.first_line == f"Dashboard: {serving.url}"
        assert again.ask("/healthz")[0] == 200
    finally:
        again.kill()


def test_a_worker_that_dies_is_replaced_without_a_word(serving: Server) -> None:
    def worker() -> int:
        children = Path(f"/proc/{serving.process.pid}/task/{serving.process.pid}/children")
        return int((children.read_text().split() or ["0"])[0])

    first = worker()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: worker() not in (0, first))
    assert serving.ask("/healthz")[0] == 200
    _, out, _ = serving.end(signal.SIGTERM)
    assert out == "The dashboard has stopped.\n"


def test_a_run_does_not_notice_that_its_dashboard_is_killed(
    serving: Server, store: RunStore, tmp_path: Path
) -> None:
    text = write_text(tmp_path / "text.txt")
    settings = {"data.dataset_name": str(text), "device.preference": "cpu"}
    status, told = serving.ask(
        "/api/runs",
        "POST",
        body=json.dumps({"config": settings}),
        headers={"Content-Type": "application/json"},
    )
    assert status == 201
    run_id = told["run_id"]
    wait_until(lambda: store.get(run_id).state.process is not None)
    owner = store.get(run_id).state.process
    try:
        serving.kill()
        assert owner is not None
        assert process.is_alive(owner)
        assert os.getsid(owner.pid) == owner.pid
        assert store.get(run_id).active
    finally:
        store.stop(run_id, kill=True)


# ---------------------------------------------------------------------- where it listens


def test_the_next_free_port_is_taken_in_place_of_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr("webapp.listening.DEFAULT_PORT", port)
        with listen("127.0.0.1", port) as found:
            assert found.getsockname()[1] > port


def test_a_chosen_port_that_is_taken_is_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.listening.PATIENCE_SECONDS", 0.0)
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConflictError, match=f"Port {port} of 127.0.0.1 is taken"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("no..such.host", 0, "is not an address of this machine"),
        ("192.0.2.1", 0, "Cannot listen on 192.0.2.1"),
        ("127.0.0.1", 70_000, "Cannot listen on 127.0.0.1, port 70000"),
    ],
)
def test_an_address_that_cannot_be_is_refused(host: str, port: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        listen(host, port)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_loopback_needs_no_token(host: str) -> None:
    policy = policy_for(host, ("box",))
    assert policy.access_token is None
    assert policy.names >= LOOPBACK_NAMES | {host}
    assert policy.extra_hosts == ("box",)


def test_the_network_needs_a_token_and_the_machines_names() -> None:
    policy = policy_for("0.0.0.0")
    assert policy.access_token is not None
    assert len(policy.access_token) >= 32
    assert policy.access_token != policy_for("0.0.0.0").access_token
    assert socket.gethostname().lower() in policy.names
    assert {a for a in own_addresses() if ":" not in a} <= policy.names


def test_addresses_are_written_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "webapp.listening.own_addresses", lambda: ["127.0.0.1", "fe80::1", "192.0.2.7"]
    )
    assert address_for_people("127.0.0.1", 8000) == "http://127.0.0.1:8000"
    assert address_for_people("::1", 8001) == "http://[::1]:8001"
    assert address_for_people("0.0.0.0", 8000) == "http://192.0.2.7:8000"


# ---------------------------------------------------------------------- one a workspace


def test_the_key_is_kept_for_its_owner_alone(store: RunStore) -> None:
    key = kept_key(store.workspace)
    assert len(key) == 32
    assert kept_key(store.workspace) == key
    mode = (store.workspace.runs_dir / ".dashboard-key").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_a_workspace_that_cannot_be_written_gets_a_key_for_once(
    store: RunStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.workspace.home.write_text("a file in the way")
    assert kept_key(store.workspace) != kept_key(store.workspace)
    presence.announce(store.workspace, "127.0.0.1", 1, "http://127.0.0.1:1")
    assert "cannot be kept" in caplog.text


def test_a_dashboard_is_found_only_while_it_lives_and_answers(store: RunStore) -> None:
    store.workspace.runs_dir.mkdir(parents=True)
    word = store.workspace.runs_dir / ".dashboard.json"
    assert find_running(store.workspace) is None
    word.write_text("{")
    assert find_running(store.workspace) is None
    me = process.identify(os.getpid())
    assert me is not None
    nobody = ProcessRecord(pid=me.pid, boot_id=me.boot_id, start_ticks=me.start_ticks - 1)
    for owner in (nobody, me):
        dashboard = Dashboard(host="127.0.0.1", port=free_port(), url="", process=owner)
        write_record(word, dashboard)
        assert find_running(store.workspace) is None


def test_word_is_taken_back_only_by_who_left_it(store: RunStore) -> None:
    presence.announce(store.workspace, "127.0.0.1", 1, "http://127.0.0.1:1")
    word = store.workspace.runs_dir / ".dashboard.json"
    other = ProcessRecord(pid=1, boot_id="", start_ticks=0)
    mine = word.read_text()
    write_record(word, Dashboard(host="", port=1, url="", process=other))
    presence.retract(store.workspace)
    assert word.exists()
    word.write_text(mine)
    presence.retract(store.workspace)
    assert not word.exists()
    presence.retract(store.workspace)


# ---------------------------------------------------------------------- what people are told


@pytest.fixture
def quick(store: RunStore, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that would have been started."""
    started: list[str] = []

    def create(self: RunStore, config: Config, *, name: str, command: list[str]) -> str:
        run = make_run(config=config, run_id="20260102-030405-abcd")
        data = {"requested": "wikitext-2", "used": "python-docs", "reason": "The hub is away."}
        meta = Meta(run_id=run.run_id, created_at="", command=command, versions={}, data=data)
        write_record(run.paths.meta, meta)
        started.append(name)
        return run.run_id

    monkeypatch.setattr(RunStore, "create", create)
    return started


def test_a_new_workspace_gets_the_quickstart_run_and_the_reason_for_its_text(
    store: RunStore, quick: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    server.start_quickstart(store, "http://127.0.0.1:8000")
    server.start_quickstart(store, "http://127.0.0.1:8000")
    assert quick == ["quickstart"]
    assert capsys.readouterr().out.splitlines() == [
        "There is no run yet: starting the quickstart run …",
        "Run 20260102-030405-abcd trains on python-docs. The hub is away.",
        "Watch it learn: http://127.0.0.1:8000/runs/20260102-030405-abcd",
    ]


def test_a_quickstart_that_cannot_start_is_told(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise DataError("There is no text.", "Bring some.")

    monkeypatch.setattr(RunStore, "create", refuse)
    server.start_quickstart(store, "http://127.0.0.1:8000")
    assert capsys.readouterr().err == (
        "The quickstart run cannot be started: There is no text. Bring some.\n"
    )


def test_the_token_is_printed_with_the_address(
    store: RunStore, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = server.Plan(store, "192.0.2.7", 8000, policy_for("0.0.0.0"))
    server.greet(plan)
    address, warning = capsys.readouterr().out.splitlines()
    assert address == f"Dashboard: http://192.0.2.7:8000/?token={plan.policy.access_token}"
    assert "open to the network" in warning


def test_a_browser_opens_only_where_there_is_a_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    server.show("http://a", True)
    monkeypatch.setenv("DISPLAY", ":0")
    server.show("http://b", False)
    server.show("http://c", True)
    assert opened == ["http://c"]


def test_the_farewell_counts_on_runs(store: RunStore, make_run: MakeRun) -> None:
    assert server.farewell(server.active_runs(store)) == "The dashboard has stopped."
    make_run(status="running", process=process.identify(os.getpid()))
    assert "Training goes on" in server.farewell(server.active_runs(store))


def test_a_dashboard_that_starts_reads_all_runs_and_removes_what_was_deleted_long_ago(
    store: RunStore, make_run: MakeRun
) -> None:
    kept, recent, old = make_run(), make_run(), make_run()
    for run in (recent, old):
        store.delete(run.run_id)
    long_ago = time.time() - UNDO_SECONDS - 60
    os.utime(trash.trashed(old.paths).folder, (long_ago, long_ago))
    server.warm_up(store)
    assert list(store.look().runs) == [kept.run_id]
    assert [deleted.run_id for deleted in store.deleted()] == [recent.run_id]
    assert gc.get_freeze_count() > 0
    gc.unfreeze()


def test_a_workspace_that_cannot_be_read_ends_no_dashboard(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError("Permission denied")

    monkeypatch.setattr(RunStore, "look", refuse)
    server.warm_up(store)
    assert "was not done: Permission denied" in caplog.text
