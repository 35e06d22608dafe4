"""The JSON interface, route by route, against run folders that are made up."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from tests.conftest import CREATED_AT, MakeRun
from tests.store.test_checkpoints import checkpoint as a_checkpoint
from trainer.config import SETTINGS, Config
from trainer.runs import RunStore
from trainer.store import process
from trainer.store.files import write_record
from trainer.store.metrics import SERIES, MetricsWriter
from trainer.store.records import QueueStanding, State
from webapp import Services

RUN = "20260102-030405-abcd"


def answer(web: FlaskClient, path: str, **request: Any) -> Any:
    """Ask and return the JSON of an answer that must be a good one."""
    response = web.open(path, **request)
    assert response.status_code == 200, response.text
    return response.json


def refusal(web: FlaskClient, path: str, **request: Any) -> tuple[int, str, str]:
    """Ask for what is refused; return status, kind and message."""
    response = web.open(path, **request)
    assert response.json is not None
    error = response.json["error"]
    return response.status_code, error["kind"], error["message"]


@pytest.fixture
def created(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What runs are created with, in place of starting processes."""
    calls: list[dict[str, Any]] = []

    def create(self: RunStore, config: Config, **facts: Any) -> str:
        calls.append({"config": config, **facts})
        return RUN

    monkeypatch.setattr(RunStore, "create", create)
    return calls


# ---------------------------------------------------------------------- list


def test_an_empty_workspace_lists_nothing(web: FlaskClient) -> None:
    assert answer(web, "/api/runs") == {"runs": [], "total": 0, "next": None}


def test_runs_are_listed_newest_first_and_in_pages(web: FlaskClient, make_run: MakeRun) -> None:
    ids = [make_run(run_id=f"20260102-03040{n}-aaaa").run_id for n in range(3)]
    first = answer(web, "/api/runs?limit=2")
    assert [run["run_id"] for run in first["runs"]] == [ids[2], ids[1]]
    assert first["total"] == 3
    rest = answer(web, f"/api/runs?limit=2&cursor={first['next']}")
    assert [run["run_id"] for run in rest["runs"]] == [ids[0]]
    assert rest["next"] is None


def test_the_list_is_filtered_and_sorted(web: FlaskClient, make_run: MakeRun) -> None:
    make_run(name="small", tags=["keep"], status="failed", best_val_loss=4.0)
    make_run(name="large", status="completed", best_val_loss=3.0)

    def found(query: str) -> list[str]:
        return [run["name"] for run in answer(web, f"/api/runs?{query}")["runs"]]

    assert found("sort=val_loss") == ["large", "small"]
    assert found("sort=-val_loss") == ["small", "large"]
    assert found("status=failed") == ["small"]
    assert found("tag=keep") == ["small"]
    assert found("q=LARGE") == ["large"]
    assert found("archived=true") == []
    assert sorted(found("status=&q=&tag=&sort=&limit=&cursor=")) == ["large", "small"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "limit = '0' is not a whole number from 1 to 1000."),
        ("limit=1e3", "limit = '1e3' is not a whole number from 1 to 1000."),
        ("limit=99999999999999999999", "is not a whole number"),
        ("status=idle", "'idle' is not a status."),
        ("sort=size", "'size' is not a sort."),
        ("cursor=zzz", "'zzz' is not a cursor of this list."),
        ("archived=maybe", "archived = 'maybe' is neither true nor false."),
    ],
)
def test_a_wrong_query_is_refused_in_words(web: FlaskClient, query: str, message: str) -> None:
    status, kind, told = refusal(web, f"/api/runs?{query}")
    assert (status, kind) == (400, "usage")
    assert message in told


# ---------------------------------------------------------------------- create


def test_a_run_is_created_from_settings(web: FlaskClient, created: list[dict[str, Any]]) -> None:
    body = {"config": {"training.epochs": 5}, "name": "mine", "tags": ["a"]}
    response = web.post("/api/runs", json=body)
    assert (response.status_code, response.json) == (201, {"run_id": RUN})
    [call] = created
    assert call["config"].training.epochs == 5
    assert (call["name"], call["tags"]) == ("mine", ["a"])


def test_settings_lie_over_a_preset(web: FlaskClient, created: list[dict[str, Any]]) -> None:
    body = {"preset": "quickstart", "config": {"training.max_steps": 3}}
    assert web.post("/api/runs", json=body).status_code == 201
    config = created[0]["config"]
    assert (config.data.fallback, config.training.max_steps) == ("python-docs", 3)


def test_all_wrong_settings_are_told_at_once(
    web: FlaskClient, created: list[dict[str, Any]]
) -> None:
    body = {"config": {"training.epoch": 3, "model.layers": "two"}}
    response = web.post("/api/runs", json=body)
    assert response.status_code == 422
    assert response.json is not None
    error = response.json["error"]
    assert error["kind"] == "configuration"
    assert error["faults"] == [
        {
            "key": "model.layers",
            "problem": "= 'two' is not allowed: a whole number from 1 to 128 (or null)",
        },
        {"key": "training.epoch", "problem": "is not a setting; did you mean training.epochs?"},
    ]
    assert created == []


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"config": 3}, 422, "'config' is wrong: expected object, got int."),
        ({"name": 3}, 422, "'name' is wrong: expected str | null, got int."),
        ({"tags": ["a", 3]}, 422, "'tags[1]' is wrong: expected str, got int."),
        ({"nam": "x"}, 422, "'nam' is not a field."),
        ([], 422, "The JSON is wrong: expected object, got array."),
        ({"preset": "/etc/passwd"}, 400, "'/etc/passwd' is not a shipped configuration."),
        ({"preset": "../quickstart"}, 400, "'../quickstart' is not a shipped configuration."),
    ],
)
def test_a_wrong_body_is_refused_by_field(
    web: FlaskClient, created: list[dict[str, Any]], body: Any, status: int, message: str
) -> None:
    told = refusal(web, "/api/runs", method="POST", json=body)
    assert (told[0], told[2]) == (status, message)
    assert created == []


def test_a_body_must_be_json(web: FlaskClient) -> None:
    request: dict[str, Any] = {"method": "POST", "content_type": "application/json"}
    status, kind, message = refusal(web, "/api/runs", data="{", **request)
    assert (status, kind) == (400, "usage")
    assert message.startswith("The body is not valid JSON")
    assert refusal(web, "/api/runs", data=b"\xff", **request)[0] == 400
    assert refusal(web, "/api/runs", data="[" * 100_000, **request)[0] == 400


def test_a_body_without_a_type_is_not_read(web: FlaskClient) -> None:
    status, kind, _ = refusal(web, "/api/runs", method="POST", data=b'{"name": "x"}')
    assert (status, kind) == (415, "unsupported_media_type")


# ---------------------------------------------------------------------- one run


def test_a_run_is_told_whole(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run(name="mine", tags=["a"], status="completed", step=7)
    told = answer(web, f"/api/runs/{run.run_id}")
    assert told == run.as_dict()
    assert (told["status"], told["step"], told["name"], told["train_loss"]) == (
        "completed",
        7,
        "mine",
        None,
    )
    assert answer(web, "/api/runs/latest") == told


def test_a_run_is_named_by_its_whole_id(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run()
    assert refusal(web, f"/api/runs/{run.run_id[:8]}")[:2] == (404, "not_found")
    assert refusal(web, f"/api/runs/{run.run_id}%0a")[:2] == (404, "not_found")


def test_a_run_is_annotated(web: FlaskClient, make_run: MakeRun) -> None:
    path = f"/api/runs/{make_run(name='old', tags=['a']).run_id}"
    told = answer(web, path, method="PATCH", json={"name": "new", "pinned": True})
    assert (told["name"], told["tags"], told["pinned"]) == ("new", ["a"], True)
    told = answer(web, path, method="PATCH", json={"name": None, "tags": ["b"], "notes": "n"})
    assert (told["name"], told["tags"], told["notes"], told["pinned"]) == (None, ["b"], "n", True)
    assert refusal(web, path, method="PATCH", json={"pinned": "yes"})[0] == 422
    assert refusal(web, path, method="PATCH", json={"status": "completed"})[0] == 422
    assert refusal(web, path, method="PATCH", json={"name": "x" * 200})[0] == 400


def test_a_run_is_deleted_and_brought_back(web: FlaskClient, make_run: MakeRun) -> None:
    run_id = make_run().run_id
    told = answer(web, f"/api/runs/{run_id}", method="DELETE")
    assert told == {"run_id": run_id, "restorable": True}
    assert web.get(f"/api/runs/{run_id}").status_code == 404
    assert answer(web, f"/api/runs/{run_id}/restore", method="POST")["run_id"] == run_id
    assert web.get(f"/api/runs/{run_id}").status_code == 200
    assert refusal(web, f"/api/runs/{RUN}/restore", method="POST")[0] == 404
    assert refusal(web, "/api/runs/../restore", method="POST")[0] == 404


def test_a_deleted_run_is_listed_and_removed_for_good(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run(name="junk", status="stopped")
    web.delete(f"/api/runs/{run.run_id}")
    (deleted,) = answer(web, "/api/deleted")["deleted"]
    assert (deleted["run_id"], deleted["title"]) == (run.run_id, "junk")
    assert (deleted["status"], deleted["bytes"] > 0) == ("stopped", True)
    gone = web.delete(f"/api/deleted/{run.run_id}")
    assert gone.get_json() == {"run_id": run.run_id, "restorable": False}
    assert web.delete(f"/api/deleted/{run.run_id}").status_code == 404
    assert web.post(f"/api/runs/{run.run_id}/restore").status_code == 404


def test_a_run_that_has_ended_cannot_be_stopped(web: FlaskClient, make_run: MakeRun) -> None:
    path = f"/api/runs/{make_run(status='completed').run_id}/stop"
    status, kind, message = refusal(web, path, method="POST")
    assert (status, kind) == (409, "conflict")
    assert "it is completed" in message
    assert refusal(web, path, method="POST", json={"now": "yes"})[0] == 422


def test_a_run_without_a_checkpoint_cannot_be_resumed(web: FlaskClient, make_run: MakeRun) -> None:
    path = f"/api/runs/{make_run(status='stopped').run_id}/resume"
    assert refusal(web, path, method="POST", json={})[:2] == (404, "not_found")
    wrong = refusal(web, path, method="POST", json={"from": "../../x"})
    assert wrong == (400, "usage", "'../../x' is not a checkpoint.")
    assert refusal(web, path, method="POST", json={"more_epochs": -1})[0] == 422
    assert refusal(web, path, method="POST", json={"more_epochs": True})[0] == 422


def test_resume_passes_on_what_was_asked(
    web: FlaskClient, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(status="stopped")
    asked: list[tuple[str, int, str, bool]] = []

    def resume(
        self: RunStore, run_id: str, *, more_epochs: int, source: str, now_anyway: bool
    ) -> Any:
        asked.append((run_id, more_epochs, source, now_anyway))
        return run

    monkeypatch.setattr(RunStore, "resume", resume)
    path = f"/api/runs/{run.run_id}/resume"
    answer(web, path, method="POST", json={"more_epochs": 2, "from": "best", "now_anyway": True})
    answer(web, path, method="POST")
    assert asked == [(run.run_id, 2, "best", True), (run.run_id, 0, "latest", False)]


def test_a_queued_run_tells_its_place_and_is_started_on_request(
    web: FlaskClient, make_run: MakeRun
) -> None:
    standing = {"device": "cpu", "position": 2, "ahead": ["a"], "after": "baseline"}
    run = make_run(
        status="queued",
        queue=msgspec.convert(standing, QueueStanding),
        process=process.identify(os.getpid()),
    )
    assert answer(web, f"/api/runs/{run.run_id}")["queue"] == standing
    told = answer(web, f"/api/runs/{run.run_id}/start", method="POST")
    assert told["run_id"] == run.run_id
    assert run.paths.start_request.exists()
    ended = make_run()
    wrong = refusal(web, f"/api/runs/{ended.run_id}/start", method="POST")
    assert wrong[:2] == (409, "conflict")


def test_a_damaged_run_is_told_and_hides_no_other(web: FlaskClient, make_run: MakeRun) -> None:
    make_run(name="whole")
    damaged = make_run()
    damaged.paths.state.write_text("{")
    told = answer(web, f"/api/runs/{damaged.run_id}")
    assert (told["status"], told["error"]["kind"]) == ("failed", "store")
    assert answer(web, "/api/runs")["total"] == 2


# ---------------------------------------------------------------------- what it has written


def test_metrics_are_answered_in_buckets(web: FlaskClient, make_run: MakeRun) -> None:
    path = f"/api/runs/{make_run(points=4).run_id}/metrics"
    told = answer(web, f"{path}?series=train_loss,val_loss&points=2")
    assert told["last_step"] == 4
    loss = told["series"]["train_loss"]
    assert loss["step"] == [2, 4]
    assert [round(v, 1) for v in loss["value"]] == [4.9, 4.7]
    assert [round(v, 1) for v in loss["min"]] == [4.9, 4.7]
    assert [round(v, 1) for v in loss["max"]] == [5.0, 4.8]
    assert (loss["points"], loss["of"]) == (2, 4)
    assert (told["points"], told["of"]) == (2, 4)
    assert told["series"]["val_loss"]["step"] == []


def test_metrics_can_be_cut_and_continued(web: FlaskClient, make_run: MakeRun) -> None:
    path = f"/api/runs/{make_run(points=9).run_id}/metrics"

    def steps(query: str) -> list[int]:
        series = answer(web, f"{path}?series=grad_norm&{query}")["series"]["grad_norm"]
        return list(series["step"])

    assert steps("from=3&to=5") == [3, 4, 5]
    assert steps("after=7") == [8, 9]
    assert steps("after=9") == []
    assert set(answer(web, path)["series"]) == set(SERIES)


def test_a_run_that_has_measured_nothing_says_null(web: FlaskClient, make_run: MakeRun) -> None:
    assert answer(web, f"/api/runs/{make_run().run_id}/metrics")["last_step"] is None


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("series=loss", "'loss' is not a series."),
        ("points=0", "points = '0' is not a whole number from 1 to 20000."),
        ("from=x", "from = 'x' is not a whole number"),
        ("after=1;drop", "after = '1;drop' is not a whole number"),
    ],
)
def test_wrong_metrics_are_refused(
    web: FlaskClient, make_run: MakeRun, query: str, message: str
) -> None:
    status, _, told = refusal(web, f"/api/runs/{make_run().run_id}/metrics?{query}")
    assert status == 400
    assert message in told


def test_curves_of_a_run_that_stands_still_are_known_by_their_tag(
    web: FlaskClient, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(points=3)
    address = f"/api/runs/{run.run_id}/metrics?series=train_loss"
    assert web.get(address).headers.get("ETag") is None  # It was written a moment ago.
    os.utime(run.paths.metrics, (1e9, 1e9))
    first = web.get(address)
    tag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, no-cache"
    monkeypatch.setattr(RunStore, "metrics", lambda *_: pytest.fail("the metrics were read"))
    again = web.get(address, headers={"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")
    assert web.get(address).data == first.data
    monkeypatch.undo()
    os.utime(run.paths.metrics, (1e9 + 1, 1e9 + 1))
    assert web.get(address, headers={"If-None-Match": tag}).status_code == 200
    assert web.get(f"{address}&points=2").headers["ETag"] != tag


def test_readings_are_told_as_curves(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run()
    writer = MetricsWriter(run.paths.metrics)
    writer.write(
        ("system", {"elapsed_seconds": float(n), "ram_bytes": 9 if n == 4 else 1})
        for n in range(1, 11)
    )
    writer.close()
    address = f"/api/runs/{run.run_id}/readings"
    told = answer(web, f"{address}?points=2")
    assert (told["last_id"], told["points"], told["of"]) == (10, 2, 10)
    assert told["series"] == {
        "ram_bytes": {
            "id": [5, 10],
            "value": [1, 1],
            "min": [1, 1],
            "max": [9, 1],
            "elapsed_seconds": [5.0, 10.0],
            "points": 2,
            "of": 10,
        }
    }
    assert answer(web, f"{address}?after=8")["series"]["ram_bytes"]["id"] == [9, 10]
    assert answer(web, f"{address}?from=3&to=4")["series"]["ram_bytes"]["value"] == [1, 9]
    assert refusal(web, f"{address}?from=-1")[0] == 400


def test_a_number_that_is_not_finite_becomes_null(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run()
    writer = MetricsWriter(run.paths.metrics)
    writer.write([("points", {"step": 1, "grad_norm": float("inf"), "train_loss": 2.0})])
    writer.close()
    told = answer(web, f"/api/runs/{run.run_id}/metrics?series=grad_norm")
    assert told["series"]["grad_norm"]["value"] == [None]


def test_a_checkpoint_is_pinned_and_unpinned(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run()
    run.paths.checkpoints.mkdir(parents=True)
    a_checkpoint(run.paths.checkpoints, "best", 20)
    base = f"/api/runs/{run.run_id}/checkpoints"
    told = answer(web, f"{base}/best/pin", method="POST")
    assert told["pinned_as"] == "step-20"
    assert [(c["name"], c["pinned"]) for c in told["checkpoints"]] == [
        ("best", True),
        ("step-20", True),
    ]
    told = answer(web, f"{base}/step-20/pin", method="DELETE")
    assert [(c["name"], c["pinned"]) for c in told["checkpoints"]] == [("best", False)]
    assert refusal(web, f"{base}/latest/pin", method="POST")[:2] == (404, "not_found")
    assert refusal(web, f"{base}/best/pin", method="DELETE")[:2] == (400, "usage")


def test_rows_are_continued_by_id(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run()
    writer = MetricsWriter(run.paths.metrics)
    writer.write(("samples", {"step": n, "prompt": "p", "text": str(n)}) for n in range(3))
    writer.write([("events", {"kind": "saved", "message": "m"}), ("system", {"cpu_percent": 5.0})])
    writer.close()
    path = f"/api/runs/{run.run_id}"
    assert [row["text"] for row in answer(web, f"{path}/samples")["samples"]] == ["0", "1", "2"]
    assert [row["id"] for row in answer(web, f"{path}/samples?after=1")["samples"]] == [2, 3]
    assert [row["id"] for row in answer(web, f"{path}/samples?limit=1")["samples"]] == [3]
    assert answer(web, f"{path}/events")["events"][0]["kind"] == "saved"
    assert answer(web, f"{path}/system")["system"][0]["cpu_percent"] == 5.0
    assert refusal(web, f"{path}/events?after=-1")[0] == 400


def test_the_log_is_answered_from_its_end(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run()
    run.paths.train_log.write_text("one\ntwo\nthree\n")
    run.paths.worker_log.write_text("noise\n")
    path = f"/api/runs/{run.run_id}/log"
    told = answer(web, f"{path}?tail=2")
    assert told == {"run_id": run.run_id, "name": "train", "lines": ["two", "three"]}
    assert answer(web, f"{path}?name=worker")["lines"] == ["noise"]
    assert refusal(web, f"{path}?name=../state.json")[0] == 400
    assert refusal(web, f"{path}?tail=0")[0] == 400


def test_checkpoints_are_listed(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run()
    run.paths.checkpoints.mkdir(parents=True)
    for name, step in (("epoch-1", 5), ("latest", 9)):
        run.paths.checkpoint(name).write_bytes(b"x")
        sidecar = run.paths.checkpoints / f"{name}.pt.json"
        sidecar.write_text(f'{{"step": {step}, "epoch": 1, "bytes": 1}}')
    told = answer(web, f"/api/runs/{run.run_id}/checkpoints")["checkpoints"]
    assert [(c["name"], c["step"]) for c in told] == [("latest", 9), ("epoch-1", 5)]


def test_the_configuration_is_told_in_three_ways(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run()
    told = answer(web, f"/api/runs/{run.run_id}/config")
    assert told["config"]["training.epochs"] == 3
    assert told["differences"] == {}
    assert told["toml"] == run.paths.config.read_text()


# ---------------------------------------------------------------------- this machine


def test_devices_are_asked_of_torch_once(web: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([{"devices": []}, {"devices": [{"id": "cuda:0"}]}])
    monkeypatch.setattr("trainer.devices.probe", lambda: next(answers))
    assert answer(web, "/api/devices") == {"devices": []}
    assert answer(web, "/api/devices") == {"devices": []}
    assert answer(web, "/api/devices?refresh=true") == {"devices": [{"id": "cuda:0"}]}


def test_the_schema_is_told(web: FlaskClient) -> None:
    told = answer(web, "/api/settings")
    assert [setting["key"] for setting in told["settings"]] == list(SETTINGS)
    epochs = next(s for s in told["settings"] if s["key"] == "training.epochs")
    assert (epochs["kind"], epochs["default"], epochs["minimum"]) == ("int", 3, 1)
    assert "quickstart" in told["presets"]


def test_a_vanished_process_shows_at_once(
    web: FlaskClient, make_run: MakeRun, parts: Services
) -> None:
    run = make_run()
    state = State(run_id=run.run_id, status="running", created_at=CREATED_AT, updated_at=CREATED_AT)
    write_record(run.paths.state, state)
    assert answer(web, f"/api/runs/{run.run_id}")["status"] == "interrupted"


def test_the_sittings_of_a_run_are_told(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run()
    writer = MetricsWriter(run.paths.metrics)
    writer.write([("sittings", {"id": 1, "pid": 7}), ("sittings", {"id": 2, "pid": 8})])
    writer.close()
    sittings = answer(web, f"/api/runs/{run.run_id}/sittings")["sittings"]
    assert [(row["pid"], row["ended"]) for row in sittings] == [(7, "interrupted"), (8, None)]
