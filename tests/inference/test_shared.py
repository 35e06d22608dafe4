"""The process that all clients of a workspace share: how it is met, started, left and replaced.

It holds toys for models, so that each start costs a tenth of a second.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import end_service
from trainer.children import environment
from trainer.errors import TrainerError
from trainer.inference import connection, rendezvous
from trainer.inference.client import Job, ModelService
from trainer.inference.connection import Connection
from trainer.inference.protocol import PROTOCOL
from trainer.inference.rendezvous import Rendezvous
from trainer.inference.request import GenerationSettings
from trainer.inference.service.lifetime import END_VARIABLE, KEEP_VARIABLE
from trainer.inference.service.peer import MOST_TOKENS_BEHIND
from trainer.inference.status import status
from trainer.store.process import identify

TOY = "tests.inference.toy"
PATIENCE_SECONDS = 60.0
SHORT = GenerationSettings(max_new_tokens=3)
ENDLESS = GenerationSettings(max_new_tokens=100_000)


@pytest.fixture
def place(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rendezvous]:
    """Where the process of an empty workspace is met; it holds toys."""
    monkeypatch.setattr(rendezvous, "SERVICE_MODULE", TOY)
    home.mkdir()
    found = rendezvous.rendezvous(home)
    assert found is not None
    yield found
    end_service(found.socket)


@pytest.fixture
def viewer(place: Rendezvous) -> Iterator[ModelService]:
    """One client."""
    with ModelService(place.home) as client:
        yield client


@pytest.fixture
def checkpoint(place: Rendezvous) -> Path:
    """A toy of 100 bytes."""
    path = place.home / "latest.pt"
    path.write_text("100")
    return path


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def pid_of(client: ModelService) -> int:
    assert isinstance(client._channel, Connection)
    pid: int = client._channel.hello["pid"]
    return pid


def lives(pid: int) -> bool:
    return identify(pid) is not None


def first(job: Job) -> dict[str, Any]:
    return next(iter(job))


# ---------------------------------------------------------------------- meeting


def test_two_viewers_share_one_process(viewer: ModelService, checkpoint: Path) -> None:
    assert viewer.generate(checkpoint, SHORT).result()["text"] == "1 2 3 "
    with ModelService(checkpoint.parent) as other:
        assert other.score(checkpoint, "text").result() == {}
        assert pid_of(other) == pid_of(viewer)


def test_two_workspaces_do_not(viewer: ModelService, checkpoint: Path, tmp_path: Path) -> None:
    viewer.warm(checkpoint).result()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with ModelService(elsewhere) as other:
        other.warm(checkpoint).result()
        assert pid_of(other) != pid_of(viewer)
    found = rendezvous.rendezvous(elsewhere)
    assert found is not None
    end_service(found.socket)


def test_those_who_come_at_once_start_one_process(place: Rendezvous, checkpoint: Path) -> None:
    together = threading.Barrier(6)
    pids: list[int] = []

    def come() -> None:
        with ModelService(place.home) as client:
            together.wait()
            client.generate(checkpoint, SHORT).result()
            pids.append(pid_of(client))

    threads = [threading.Thread(target=come) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 6
    assert len(set(pids)) == 1


def test_it_outlives_who_started_it_and_their_session(place: Rendezvous, checkpoint: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from trainer.inference import rendezvous\n"
        "from trainer.inference.client import ModelService\n"
        f"rendezvous.SERVICE_MODULE = '{TOY}'\n"
        "client = ModelService(Path(sys.argv[1]))\n"
        "client.warm(Path(sys.argv[2])).result()\n"
        "print(client._channel.hello['pid'], flush=True)\n"
        "sys.stdin.read()\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program, str(place.home), str(checkpoint)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env=environment(),
    )
    with starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert os.getsid(pid) == pid
        os.killpg(starter.pid, signal.SIGINT)
        os.killpg(starter.pid, signal.SIGKILL)
    with ModelService(place.home) as client:
        client.warm(checkpoint).result()
        assert pid_of(client) == pid


def test_a_socket_that_nobody_listens_at_is_replaced(
    place: Rendezvous, viewer: ModelService, checkpoint: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place.socket))
    assert viewer.generate(checkpoint, SHORT).result()["text"] == "1 2 3 "


def test_its_folder_belongs_to_this_user_alone(place: Rendezvous, tmp_path: Path) -> None:
    assert place.folder.stat().st_mode & 0o777 == 0o700
    assert len(str(place.socket)) <= rendezvous.MOST_PATH_BYTES
    assert rendezvous.rendezvous(tmp_path / "home" / ".." / "home") == place


def test_a_folder_that_others_may_enter_is_not_used(
    place: Rendezvous, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.folder.chmod(0o755)
    try:
        found = rendezvous.rendezvous(place.home)
        assert found is None or found.folder != place.folder
    finally:
        place.folder.chmod(0o700)


def test_without_a_place_to_meet_the_process_is_private(
    place: Rendezvous, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.inference.client.rendezvous", lambda _: None)
    monkeypatch.setattr("trainer.inference.client.SERVICE_MODULE", "tests.cli.echo_service")
    with ModelService(place.home) as client:
        done = client.generate(checkpoint, GenerationSettings(prompt="one two")).result()
    assert done["text"] == "ONETWO"
    assert not place.socket.exists()


# ---------------------------------------------------------------------- its end


def test_a_process_that_was_killed_is_told_and_started_again(
    place: Rendezvous, viewer: ModelService, checkpoint: Path
) -> None:
    job = viewer.generate(checkpoint, ENDLESS)
    first(job)
    os.kill(pid_of(viewer), signal.SIGKILL)
    with pytest.raises(TrainerError, match=r"ended unexpectedly \(killed by SIGKILL\)") as failed:
        job.result()
    assert str(place.log) in failed.value.hint
    assert viewer.generate(checkpoint, SHORT).result()["text"] == "1 2 3 "


def test_one_that_cannot_start_says_why(
    viewer: ModelService, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_FAILURE", "torch is missing")
    with pytest.raises(TrainerError, match=r"cannot be started \(exit status 1\)") as failed:
        viewer.generate(checkpoint, SHORT).result()
    assert failed.value.hint == "torch is missing"
    monkeypatch.delenv("TOY_FAILURE")
    assert viewer.generate(checkpoint, SHORT).result()["text"] == "1 2 3 "


def test_it_ends_by_itself_and_the_next_job_starts_another(
    place: Rendezvous, viewer: ModelService, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(END_VARIABLE, "0.2")
    viewer.warm(checkpoint).result()
    pid = pid_of(viewer)
    eventually(lambda: not lives(pid))
    assert not place.socket.exists()
    monkeypatch.setenv(END_VARIABLE, "60")
    assert viewer.generate(checkpoint, SHORT).result()["text"] == "1 2 3 "
    assert pid_of(viewer) != pid


def test_no_job_is_lost_to_a_process_that_ends_by_itself(
    viewer: ModelService, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(END_VARIABLE, "0")
    for _ in range(10):
        assert viewer.generate(checkpoint, SHORT).result()["text"] == "1 2 3 "


def test_it_frees_models_before_it_ends(
    viewer: ModelService, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEEP_VARIABLE, "0.2")
    viewer.warm(checkpoint).result()
    eventually(lambda: (told := status(checkpoint.parent)) is not None and told.models == [])
    assert lives(pid_of(viewer))


def test_it_ends_with_its_workspace(viewer: ModelService, checkpoint: Path) -> None:
    job = viewer.generate(checkpoint, ENDLESS)
    first(job)
    pid = pid_of(viewer)
    shutil.rmtree(checkpoint.parent)
    with pytest.raises(TrainerError, match="is gone"):
        job.result()
    eventually(lambda: not lives(pid))


def test_it_ends_when_nobody_can_find_it(
    place: Rendezvous, viewer: ModelService, checkpoint: Path
) -> None:
    viewer.warm(checkpoint).result()
    pid = pid_of(viewer)
    place.socket.unlink()
    eventually(lambda: not lives(pid))


# ---------------------------------------------------------------------- other versions


def test_a_process_of_another_version_makes_way_after_its_jobs(
    viewer: ModelService, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = viewer.generate(checkpoint, ENDLESS)
    first(job)
    old = pid_of(viewer)
    monkeypatch.setattr(connection, "__version__", "another")
    with ModelService(checkpoint.parent) as newer:
        # This one is of the version of before too, as after an update of a program that runs.
        assert newer.generate(checkpoint, SHORT).result()["text"] == "1 2 3 "
        assert pid_of(newer) != old
        job.cancel()
        assert job.result()["finish_reason"] == "cancelled"
        eventually(lambda: not lives(old))
        assert viewer.generate(checkpoint, SHORT).result()["text"] == "1 2 3 "


def test_a_program_that_was_replaced_by_one_of_another_protocol_is_told(
    viewer: ModelService, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PROTOCOL", PROTOCOL + 1)
    with pytest.raises(TrainerError, match="was replaced by version"):
        viewer.generate(checkpoint, SHORT)


def test_a_process_that_hangs_is_passed_by(
    place: Rendezvous, viewer: ModelService, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer.warm(checkpoint).result()
    hung = pid_of(viewer)
    os.kill(hung, signal.SIGSTOP)
    try:
        monkeypatch.setattr(connection, "HELLO_PATIENCE_SECONDS", 3.0)
        with ModelService(place.home) as other:
            assert other.generate(checkpoint, SHORT).result()["text"] == "1 2 3 "
            assert pid_of(other) != hung
    finally:
        os.kill(hung, signal.SIGCONT)
    eventually(lambda: not lives(hung))


# ---------------------------------------------------------------------- clients


class Raw:
    """A client that sends and reads what it likes."""

    def __init__(self, place: Rendezvous) -> None:
        connected = rendezvous.connect(place.socket)
        assert connected is not None
        self.socket = connected
        self.events = connected.makefile("rb")
        self.hello = json.loads(self.events.readline())

    def ask(self, line: dict[str, Any] | bytes) -> None:
        data = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
        self.socket.sendall(data)

    def close(self) -> None:
        self.events.close()
        self.socket.close()


def generate(path: Path, tokens: int, **settings: Any) -> dict[str, Any]:
    wanted = {"max_new_tokens": tokens, **settings}
    return {"op": "generate", "id": 1, "checkpoint": str(path), "settings": wanted}


def test_a_slow_reader_holds_up_nobody_and_gets_everything(
    place: Rendezvous, viewer: ModelService, checkpoint: Path
) -> None:
    viewer.warm(checkpoint).result()
    slow = Raw(place)
    tokens = 20 * MOST_TOKENS_BEHIND // 32
    slow.ask(generate(checkpoint, tokens, n=32))
    for _ in range(5):
        settings = GenerationSettings(max_new_tokens=200)
        assert viewer.generate(checkpoint, settings).result()["finish_reason"] == "length"
    rows = [""] * 32
    for line in slow.events:
        event = json.loads(line)
        if event["type"] == "done":
            break
        rows[event["row"]] += event["text"]
    slow.close()
    whole = "".join(f"{token} " for token in range(1, tokens + 1))
    assert rows == [whole] * 32


def test_the_jobs_of_a_client_that_is_gone_end(
    place: Rendezvous, viewer: ModelService, checkpoint: Path
) -> None:
    viewer.warm(checkpoint).result()
    leaver = Raw(place)
    leaver.ask(generate(checkpoint, 100_000))
    assert json.loads(leaver.events.readline())["type"] == "token"
    leaver.close()
    eventually(lambda: jobs(place.home) == [0])


def jobs(home: Path) -> list[int]:
    told = status(home)
    assert told is not None
    return [model.jobs for model in told.models]


def test_a_client_that_talks_nonsense_is_dismissed_alone(
    place: Rendezvous, viewer: ModelService, checkpoint: Path
) -> None:
    viewer.warm(checkpoint).result()
    for nonsense in (b"{\n", b'{"op": "dance", "id": 1}\n', b"\xff\n", b"[]\n"):
        raw = Raw(place)
        raw.ask(nonsense)
        assert raw.events.read() == b""
        raw.close()
    assert viewer.generate(checkpoint, SHORT).result()["text"] == "1 2 3 "


# ---------------------------------------------------------------------- what is told of it


def test_its_standing_is_told_without_starting_it(
    place: Rendezvous, viewer: ModelService, checkpoint: Path
) -> None:
    assert status(place.home) is None
    assert not place.socket.exists()
    job = viewer.generate(checkpoint, ENDLESS)
    first(job)
    told = status(place.home)
    assert told is not None
    assert told.pid == pid_of(viewer)
    assert [(model.checkpoint, model.bytes, model.jobs) for model in told.models] == [
        (str(checkpoint), 110, 1)
    ]
    assert told.waiting == 0


def test_it_goes_by_a_name_that_people_know(viewer: ModelService, checkpoint: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux lets a process name itself")
    viewer.warm(checkpoint).result()
    assert Path(f"/proc/{pid_of(viewer)}/comm").read_text() == "llm-trainer svc\n"
