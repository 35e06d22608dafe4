"""The pages as plain HTML: what they show, and what their forms do, without any script."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import CREATED_AT, MakeRun
from tests.store.test_checkpoints import checkpoint as a_checkpoint
from tests.webapp.conftest import Send, field_of
from trainer.config import SETTINGS, Config, Layer, build
from trainer.errors import ConflictError, DataError, TrainerError
from trainer.runs import Run, RunStore
from trainer.store import process
from trainer.store.files import write_record
from trainer.store.metrics import MetricsWriter
from trainer.store.process import identify
from trainer.store.records import ErrorRecord, Meta, QueueStanding
from webapp import Services, presenting
from webapp.pages import run_list
from webapp.shortcuts import SHORTCUTS

SECOND = QueueStanding(device="cpu", position=2, ahead=["a"], after="baseline")


def with_checkpoint(run: Run, name: str = "latest", step: int = 10) -> Run:
    run.paths.checkpoints.mkdir(parents=True, exist_ok=True)
    run.paths.checkpoint(name).write_bytes(b"weights")
    facts = {"step": step, "epoch": 1, "val_loss": 3.5, "bytes": 7}
    sidecar = run.paths.checkpoints / f"{name}.pt.json"
    sidecar.write_text(json.dumps(facts))
    return run


def test_an_address_that_can_be_kept_leads_to_the_newest_run(
    web: FlaskClient, make_run: MakeRun
) -> None:
    assert web.get("/runs/latest").status_code == 404
    make_run(run_id="20260101-old")
    make_run(run_id="20260102-new")
    assert web.get("/runs/latest").location == "/runs/20260102-new"


# ---------------------------------------------------------------------- every page


class Links(HTMLParser):
    """Collects where a page leads, and checks what the content security policy forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.forbidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "a" and values.get("href"):
            self.found.add(str(values["href"]).partition("#")[0])
        inline = [name for name in values if name == "style" or name.startswith("on")]
        script = tag == "script" and not values.get("src") and "json" not in (values["type"] or "")
        if inline or tag == "style" or script:
            self.forbidden.append(f"<{tag} {inline}>")


def read_links(page: str) -> Links:
    links = Links()
    links.feed(page)
    return links


@pytest.fixture
def everything(make_run: MakeRun) -> Run:
    """A workspace with a run of every sort; the one that has all is returned."""
    make_run(status="failed", error=ErrorRecord(kind="data", message="No text.", hint="Give it."))
    make_run(status="stopped", name="<b>bold</b>", tags=["a&b"])
    run = make_run(
        points=20, step=20, total_steps=20, name="whole", train_loss=3.1, best_val_loss=3.25
    )
    writer = MetricsWriter(run.paths.metrics)
    row = {"step": 20, "val_loss": 3.25, "val_word_perplexity": 90.5, "val_bits_per_byte": 1.4}
    event = {"at": "2026-01-02T03:04:05Z", "kind": "saved", "level": "info", "message": "Saved."}
    sample = {"step": 20, "prompt": "The history of", "text": " <i>Rome</i>"}
    writer.write([("evaluations", row), ("events", event), ("samples", sample)])
    writer.close()
    run.paths.train_log.write_text("2026-01-02T03:04:05.000Z WARNING careful\n")
    return with_checkpoint(run)


def test_every_page_that_is_linked_opens(web: FlaskClient, everything: Run) -> None:
    waiting, seen = ["/"], {"/"}
    while waiting:
        path = waiting.pop()
        answer = web.get(path)
        if not path.endswith("/train.log"):  # The other runs have logged nothing.
            assert answer.status_code == 200, path
        if answer.mimetype != "text/html":
            continue
        links = read_links(answer.text)
        assert links.forbidden == [], path
        new = {link for link in links.found if link.startswith("/")} - seen
        seen |= new
        waiting += new
    assert {f"/runs/{everything.run_id}", "/runs/new", "/playground", "/help"} <= seen
    assert f"/runs/{everything.run_id}/metrics.csv" in seen


def test_names_and_texts_are_escaped(web: FlaskClient, everything: Run) -> None:
    assert "&lt;b&gt;bold&lt;/b&gt;" in web.get("/").text
    page = web.get(f"/runs/{everything.run_id}").text
    assert "&lt;i&gt;Rome&lt;/i&gt;" in page
    assert "<i>Rome" not in page


def test_the_shortcut_table_is_in_the_page(web: FlaskClient) -> None:
    page = web.get("/help").text
    for group in SHORTCUTS:
        for shortcut in group.shortcuts:
            assert f'data-shortcut="{shortcut.key}"' in page
            assert shortcut.words in page


# ---------------------------------------------------------------------- the list


def test_an_empty_workspace_offers_the_quickstart(web: FlaskClient) -> None:
    page = web.get("/").text
    assert "Train your first language model" in page
    assert 'action="/runs/quickstart"' in page


def test_a_row_shows_what_matters(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run(
        points=3,
        name="baseline",
        tags=["sweep"],
        status="stopped",
        step=3,
        train_loss=4.8,
        best_val_loss=4.9,
        best_val_word_perplexity=512.25,
        tokens_per_second=2000.0,
        elapsed_seconds=65.0,
        device_name="NVIDIA A30",
        dataset="WikiText-2",
    )
    page = web.get("/").text
    for words in (
        f"/runs/{run.run_id}",
        "baseline",
        "sweep",
        "Stopped",
        "4.8000",
        "4.9000",
        "512.2",
        "2,000 tok/s",
        "1 min 5 s",
        "NVIDIA A30",
        "WikiText-2",
        "data-spark-missing",
    ):
        assert words in page
    curves = web.get(f"/runs/sparklines?run={run.run_id}&run=gone").get_json()
    assert curves == {run.run_id: "1:5 2:4.9 3:4.8"}
    assert 'points="1.5,1.5 44.0,11.0 86.5,20.5"' in web.get("/").text


def test_a_row_shows_two_tags_and_counts_the_others(web: FlaskClient, make_run: MakeRun) -> None:
    make_run(tags=["a", "b", "c", "d"])
    page = web.get("/").text
    assert re.findall(r'class="tag" href="[^"]*" title="(.)"', page) == ["a", "b"]
    assert 'title="c, d">+2</span>' in page


def test_the_list_is_filtered_and_sorted_by_its_address(
    web: FlaskClient, make_run: MakeRun
) -> None:
    make_run(name="first", train_loss=2.0, tags=["x"])
    make_run(name="second", train_loss=1.0, status="failed")
    both = web.get("/?sort=train_loss").text
    assert both.index(">second<") < both.index(">first<")
    assert 'aria-sort="ascending"' in both
    assert ">first<" not in web.get("/?status=failed").text
    assert ">second<" not in web.get("/?tag=x").text
    none = web.get("/?q=nothing").text
    assert "None of 2 runs has “nothing”" in none
    assert ">second<" in web.get("/?q=loss<1.5+-tag:x").text


def test_a_filter_that_cannot_be_understood_is_told_and_hides_no_run(
    web: FlaskClient, make_run: MakeRun
) -> None:
    make_run(name="first")
    page = web.get("/?q=colour:red")
    assert page.status_code == 200
    assert "&#39;colour&#39; is not a field. There are: status, tag," in page.text
    assert 'value="colour:red"' in page.text
    assert ">first<" in page.text
    make_run(name="second")
    fragment = web.get("/?q=colour:red+second", headers={"HX-Request": "true"})
    assert fragment.headers["HX-Replace-Url"] == "/?q=colour%3Ared+second"
    assert "is not a field" in fragment.text
    assert (">first<" in fragment.text, ">second<" in fragment.text) == (False, True)


def test_every_example_of_the_help_is_understood(web: FlaskClient, make_run: MakeRun) -> None:
    make_run()
    for text, _ in run_list.EXAMPLES:
        page = web.get("/", query_string={"q": text}).text
        assert '<p class="field-error" id="filter-fault" role="alert" hidden>' in page


def test_columns_are_kept_for_the_next_visit(web: FlaskClient, make_run: MakeRun) -> None:
    make_run()
    assert 'data-title="Device"' not in web.get("/?show=&show=speed").text
    again = web.get("/").text
    assert 'data-title="Speed"' in again
    assert 'data-title="Device"' not in again
    assert 'data-title="Speed"' not in web.get("/?show=").text
    assert 'data-title="Device"' in web.get("/?show=loss&show=val_loss&show=perplexity&show=speed"
                                            "&show=device&show=time&show=created").text  # fmt: skip


def test_all_that_matches_can_be_selected(web: FlaskClient, make_run: MakeRun) -> None:
    ids = [make_run(name=f"x {n}").run_id for n in range(3)]
    make_run(name="other")
    assert web.get("/runs/matching?q=x&rows=100").get_json() == {"runs": ids[::-1]}


def test_a_text_that_is_a_file_is_shown_by_its_name(web: FlaskClient, make_run: MakeRun) -> None:
    make_run(status="failed", dataset="/data/very/long/way/to/book.txt")
    page = web.get("/").text
    assert 'title="/data/very/long/way/to/book.txt">book.txt<' in page


def test_htmx_gets_the_table_alone(web: FlaskClient, make_run: MakeRun) -> None:
    make_run(name="first")
    answer = web.get("/", headers={"HX-Request": "true"})
    assert answer.text.lstrip().startswith('<p class="field-error" id="filter-fault"')
    assert '<p class="counts" id="counts" hx-swap-oob="true">1 run</p>' in answer.text
    assert "<html" not in answer.text
    assert "HX-Request" in answer.headers["Vary"]
    assert "HX-Request" in web.get("/").headers["Vary"]


def test_a_wrong_address_is_refused_in_words(web: FlaskClient) -> None:
    answer = web.get("/?sort=colour")
    assert answer.status_code == 400
    assert "is not a sort." in answer.text


def test_many_runs_come_in_pages(
    web: FlaskClient, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presenting, "ROWS_A_PAGE", 2)
    monkeypatch.setattr(presenting, "MOST_ROWS", 4)
    for number in range(5):
        make_run(run_id=f"run-{number}")
    first = web.get("/?rows=1").text
    assert re.findall(r'<tr data-run="(run-.)"', first) == ["run-4", "run-3"]
    assert "2 of 5 shown" in first
    assert 'href="/?rows=4" data-more' in first
    more = web.get("/?rows=4").text
    assert re.findall(r'<tr data-run="(run-.)"', more) == ["run-4", "run-3", "run-2", "run-1"]
    onwards = re.search(r'href="(/\?cursor=[^"]+)"', more)
    assert onwards is not None
    last = web.get(onwards[1]).text
    assert re.findall(r'<tr data-run="(run-.)"', last) == ["run-0"]
    assert "First page" in last


def test_a_pin_keeps_the_list_as_it_was(send: Send, make_run: MakeRun, store: RunStore) -> None:
    run = make_run()
    answer = send(f"/runs/{run.run_id}/annotate", pinned="true", back="/?status=completed")
    assert (answer.status_code, answer.location) == (303, "/?status=completed")
    assert store.get(run.run_id).annotations.pinned


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "/runs/new", ""])
def test_the_way_back_leads_to_the_list_alone(send: Send, make_run: MakeRun, back: str) -> None:
    run = make_run()
    assert send(f"/runs/{run.run_id}/annotate", pinned="true", back=back).location == "/"


# ---------------------------------------------------------------------- several runs at once


def test_several_runs_are_tagged_and_archived(
    send: Send, make_run: MakeRun, store: RunStore
) -> None:
    ids = [make_run().run_id, make_run().run_id]
    assert (
        "2 runs were tagged."
        in send("/runs/bulk", follow=True, run=ids, action="tag", tag="kept").text
    )
    send("/runs/bulk", run=ids, action="archive")
    notes = [store.get(run_id).annotations for run_id in ids]
    assert [(note.tags, note.archived) for note in notes] == [(["kept"], True)] * 2


def test_several_tags_stand_between_commas(send: Send, make_run: MakeRun, store: RunStore) -> None:
    run_id = make_run().run_id
    send("/runs/bulk", run=[run_id], action="tag", tag="batch-a, Ä ü")
    assert store.get(run_id).annotations.tags == ["batch-a", "Ä ü"]
    send("/runs/bulk", run=[run_id], action="untag", tag="Ä ü, other")
    assert store.get(run_id).annotations.tags == ["batch-a"]


def test_what_is_refused_for_one_run_is_told_and_the_rest_is_done(
    send: Send, make_run: MakeRun
) -> None:
    run = make_run()
    page = send("/runs/bulk", follow=True, run=[run.run_id, "gone"], action="archive").text
    assert "1 run was archived." in page
    assert "There is no run &#39;gone&#39;" in page


def test_several_runs_are_deleted_after_a_question_and_can_be_brought_back(
    send: Send, make_run: MakeRun, store: RunStore
) -> None:
    ids = [make_run().run_id, make_run().run_id]
    question = send("/runs/bulk", run=ids, action="delete")
    assert "Delete 2 runs?" in question.text
    assert store.list().total == 2
    done = send("/runs/bulk", follow=True, run=ids, action="delete", confirmed="true")
    assert store.list().total == 0
    assert "2 runs were deleted" in done.text
    assert f'name="runs" value="{" ".join(ids)}"' in done.text
    send("/runs/restore", runs=" ".join(ids))
    assert store.list().total == 2


def test_an_active_run_is_not_deleted_with_the_others(
    send: Send, make_run: MakeRun, store: RunStore
) -> None:
    ended = make_run(name="over")
    live = make_run(name="alive", status="running", process=process.identify(os.getpid()))
    question = send("/runs/bulk", run=[ended.run_id, live.run_id], action="delete").text
    assert "Delete this run?" in question
    assert "This removes its metrics" in question
    assert ">Keep it</a>" in question
    assert "This run is active and cannot be deleted. Stop it first." in question
    assert f'name="runs" value="{ended.run_id}"' in question
    refused = send("/runs/bulk", follow=True, run=live.run_id, action="delete", confirmed="true")
    assert "Stop it first, then delete it." in refused.text
    assert store.get(live.run_id).active


def test_many_deleted_runs_are_brought_back_from_their_page(
    send: Send, make_run: MakeRun, store: RunStore
) -> None:
    ids = [make_run().run_id for _ in range(41)]
    done = send("/runs/bulk", follow=True, runs=" ".join(ids), action="delete", confirmed="true")
    assert "41 runs were deleted" in done.text
    assert 'href="/deleted">Bring some back</a>' in done.text
    assert store.list().total == 0


def test_tags_are_taken_off_pins_set_and_runs_stopped_together(
    send: Send, make_run: MakeRun, store: RunStore
) -> None:
    tagged, bare = make_run(name="a", tags=["x", "y"]).run_id, make_run(name="b").run_id
    page = send("/runs/bulk", follow=True, run=[tagged, bare], action="untag", tag="x").text
    assert "1 run was freed of that tag." in page
    assert f"Run {bare} does not carry the tag" in page
    assert store.get(tagged).annotations.tags == ["y"]
    send("/runs/bulk", run=[tagged, bare], action="pin")
    assert store.get(bare).annotations.pinned
    page = send("/runs/bulk", follow=True, run=[tagged, bare], action="stop").text
    assert "2 runs were not asked to stop:" in page
    assert f"{tagged}: Run {tagged} is not active: it is completed." in page


def test_deleted_runs_wait_on_a_page_until_they_go_for_good(
    send: Send, web: FlaskClient, make_run: MakeRun, store: RunStore
) -> None:
    assert "Nothing is waiting here" in web.get("/deleted").text
    first, second = make_run(name="first").run_id, make_run(name="second").run_id
    store.delete(first)
    store.delete(second)
    page = web.get("/deleted").text
    assert "can be brought back for 24 hours" in page
    assert ">first<" in page
    assert re.search(r">(23 h 59 min|1 d) more<", page)
    assert f'form="one" name="runs" value="{first}"' in page
    back = send("/runs/restore", follow=True, runs=first, back="/deleted").text
    assert "<h1>Deleted runs</h1>" in back
    assert "It is back." in back
    question = send("/deleted", run=second, action="remove").text
    assert "Remove this run for good?" in question
    assert "It cannot be undone." in question
    gone = send("/deleted", follow=True, runs=second, action="remove", confirmed="true").text
    assert "1 run removed for good." in gone
    assert [run.run_id for run in store.list().runs] == [first]
    assert store.deleted() == []
    assert "No run is selected." in send("/deleted", follow=True, action="restore").text
    assert send("/deleted", run=first, action="fly").status_code == 400


def test_selected_runs_are_compared(send: Send) -> None:
    assert send("/runs/bulk", run=["a", "b"], action="compare").location == ("/compare?run=a&run=b")


def test_nothing_selected_and_nonsense_are_refused(send: Send, make_run: MakeRun) -> None:
    assert "No run is selected." in send("/runs/bulk", follow=True, action="tag").text
    assert send("/runs/bulk", run=[make_run().run_id], action="fly").status_code == 400


# ---------------------------------------------------------------------- a new run


def test_the_form_has_a_field_for_every_setting(web: FlaskClient) -> None:
    page = web.get("/runs/new").text
    missing = [
        key
        for key, setting in SETTINGS.items()
        if f'name="{key}"' not in page or setting.help[:30] not in page.replace("&#39;", "'")
    ]
    assert missing == []


def test_a_run_is_started_with_what_was_typed(
    send: Send, created: list[Any], store: RunStore
) -> None:
    answer = send(
        "/runs/new", training__epochs="5", device__strict=["false", "true"],
        name=" mine ", tags="a, b",
    )  # fmt: skip
    (config, given), run = created[0], store.list().runs[0]
    assert (answer.status_code, answer.location) == (303, f"/runs/{run.run_id}")
    assert config == build(Layer("test", {"training.epochs": 5, "device.strict": True}))
    assert (given["name"], given["tags"], given["parent"]) == ("mine", ("a", "b"), None)
    assert given["command"][:4] == ("llm-trainer", "train", "--set", "training.epochs=5")


def test_a_run_that_need_not_wait_is_asked_for_by_a_mark(send: Send, created: list[Any]) -> None:
    send("/runs/new")
    send("/runs/new", now_anyway="true")
    assert [given["now_anyway"] for _, given in created] == [False, True]
    assert created[1][1]["command"][-1] == "--now-anyway"
    refused = send("/runs/new", now_anyway="true", training__epochs="0").text
    assert 'name="now_anyway" value="true" checked' in refused


def test_a_run_that_waits_is_told_as_queued(
    send: Send, parts: Services, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(status="stopped", queue=SECOND)
    monkeypatch.setattr(parts.store, "create", lambda *_, **__: run.run_id)
    page = send("/runs/new", follow=True).text
    assert "The run is queued: it starts by itself when its turn comes." in page


def test_mistakes_are_shown_at_their_fields_and_nothing_is_lost(
    send: Send, created: list[Any]
) -> None:
    answer = send("/runs/new", training__epochs="0", training__batch_size="x", name="mine")
    assert answer.status_code == 422
    assert "2 settings are wrong." in answer.text
    assert "0 is not allowed: a whole number from 1 to 100,000." in answer.text
    assert 'id="training-epochs" name="training.epochs" value="0"' in answer.text
    assert 'id="name" name="name" value="mine"' in answer.text
    assert created == []


def test_a_path_that_leads_nowhere_is_told_with_the_other_mistakes(send: Send) -> None:
    page = send("/runs/new", data__dataset_name="/no/such.txt", training__epochs="-1").text
    assert "2 settings are wrong." in page
    assert re.search(r'id="data-dataset_name-error">.*/no/such.txt', page)


def test_a_folded_group_that_was_not_touched_is_not_called_changed(send: Send) -> None:
    prompts = "\r\n".join(Config().evaluation.prompts)
    page = send("/runs/new", training__epochs="-1", evaluation__prompts=prompts).text
    assert "changed</span>" not in page


def test_a_mistake_in_a_folded_section_unfolds_it(send: Send) -> None:
    page = send("/runs/new", model__dropout="2").text
    assert page.count('<details class="fold" data-fold="model" open>') == 1


def test_what_the_launcher_refuses_stands_at_its_field(
    send: Send, parts: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise DataError("There is no text in it.", "Name another.")

    monkeypatch.setattr(parts.store, "create", refuse)
    answer = send("/runs/new", data__dataset_name="void.txt")
    assert answer.status_code == 422
    assert "There is no text in it. Name another." in answer.text
    assert 'value="void.txt"' in answer.text


def test_a_form_that_is_sent_twice_starts_one_run(send: Send, created: list[Any]) -> None:
    first = send("/runs/new", submission="abc")
    second = send("/runs/new", submission="abc")
    assert first.location == second.location
    assert len(created) == 1


def test_a_clone_has_the_settings_of_its_run(
    web: FlaskClient, send: Send, make_run: MakeRun, created: list[Any]
) -> None:
    config = build(Layer("test", {"training.epochs": 9, "model.preset": "small"}))
    run = make_run(name="old", tags=["x"], config=config)
    page = web.get(f"/runs/new?from={run.run_id}").text
    assert 'id="training-epochs" name="training.epochs" value="9"' in page
    assert 'value="old (copy)"' in page
    assert field_of(page, "parent") == run.run_id
    send("/runs/new", parent=run.run_id)
    assert created[0][1]["parent"] == run.run_id


def test_a_parent_that_is_no_run_id_is_dropped(send: Send, created: list[Any]) -> None:
    send("/runs/new", parent="../../etc")
    assert created[0][1]["parent"] is None


def test_a_shipped_configuration_fills_the_form(web: FlaskClient) -> None:
    page = web.get("/runs/new?config=quickstart").text
    assert 'name="data.fallback" value="python-docs" checked' in page
    assert web.get("/runs/new?config=nonsense").status_code == 404


def test_the_preview_says_what_the_form_amounts_to(send: Send) -> None:
    page = send("/runs/new/preview", training__batch_size="4", training__seq_length="64").text
    assert ">256<" in page
    assert "--set training.batch_size=4" in page
    wrong = send("/runs/new/preview", training__batch_size="0").text
    assert "1 setting needs mending first" in wrong


def test_the_quickstart_starts_once(send: Send, created: list[Any], store: RunStore) -> None:
    answers = [send("/runs/quickstart", submission="abc") for _ in range(2)]
    run = store.list().runs[0]
    assert [answer.location for answer in answers] == [f"/runs/{run.run_id}"] * 2
    assert [given["name"] for _, given in created] == ["quickstart"]


def test_a_form_without_its_token_is_refused(web: FlaskClient, created: list[Any]) -> None:
    assert web.post("/runs/new", data={"name": "x"}).status_code == 403
    assert created == []


# ---------------------------------------------------------------------- one run


def test_a_run_page_tells_all_without_scripts(web: FlaskClient, everything: Run) -> None:
    page = web.get(f"/runs/{everything.run_id}").text
    for words in (
        "step 20 of 20",
        "3.1000",
        "3.2500 best",
        "Saved.",
        "WARNING careful",
        "The history of",
        "Generate text with it",
        "chart-picture",
        "Show the current numbers",
    ):
        assert words in page


@pytest.mark.parametrize("status", ["failed", "completed", "interrupted", "stopped"])
def test_a_run_that_has_ended_can_be_resumed_and_not_stopped(
    web: FlaskClient, make_run: MakeRun, status: str
) -> None:
    page = web.get(f"/runs/{make_run(status=status).run_id}").text
    hidden = dict(re.findall(r'data-when="([^"]*)"( hidden)?>', page))
    assert hidden["queued preparing running"] == " hidden"
    assert hidden["stopping"] == " hidden"
    assert hidden["stopped interrupted failed completed"] == ""


def test_an_error_is_told_with_the_next_step(web: FlaskClient, make_run: MakeRun) -> None:
    error = ErrorRecord(kind="training", message="The loss is not finite.", hint="Lower the rate.")
    page = web.get(f"/runs/{make_run(status='failed', error=error).run_id}").text
    assert "The loss is not finite." in page
    assert "Lower the rate." in page


def test_notices_are_told(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run(notices=["Trains on python-docs because the hub did not answer."])
    assert "Trains on python-docs because" in web.get(f"/runs/{run.run_id}").text


def test_warnings_are_loud_and_stand_before_notices(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run(warnings=["latest.pt was damaged."], notices=["There is no validation split."])
    page = web.get(f"/runs/{run.run_id}").text
    banner = page[: page.index("latest.pt was damaged.")].rpartition('<div class="message"')[2]
    assert 'data-tone="warning"' in banner
    assert 'role="alert"' in banner
    assert page.index("latest.pt was damaged.") < page.index("There is no validation split.")
    row = web.get("/").text
    assert 'data-note title="latest.pt was damaged.">1 warning<' in row


def test_a_run_that_waits_for_its_first_step_was_queued(
    web: FlaskClient, make_run: MakeRun
) -> None:
    me = identify(os.getpid())
    waits = make_run(run_id="20260102-030405-0001", status="queued", process=me)
    assert "<span data-since>queued</span>" in web.get(f"/runs/{waits.run_id}").text
    began = make_run(run_id="20260102-030405-0002", status="completed")
    assert "<span data-since>started</span>" in web.get(f"/runs/{began.run_id}").text


def test_the_curves_can_be_taken_along(web: FlaskClient, make_run: MakeRun) -> None:
    answer = web.get(f"/runs/{make_run(points=2).run_id}/metrics.csv")
    assert answer.text.splitlines()[:2] == [
        "step,epoch,tokens,elapsed_seconds,train_loss,val_loss,learning_rate,grad_norm,"
        "tokens_per_second",
        "1,0.01,1000,0.5,5.0,,0.001,1.0,2000.0",
    ]
    assert answer.headers["Content-Disposition"].startswith("attachment")


def test_configuration_and_log_can_be_taken_along(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run()
    assert web.get(f"/runs/{run.run_id}/config.toml").text.startswith("[data]")
    assert web.get(f"/runs/{run.run_id}/train.log").status_code == 404
    run.paths.train_log.write_text("one line\n")
    answer = web.get(f"/runs/{run.run_id}/train.log")
    assert (answer.text, answer.mimetype) == ("one line\n", "text/plain")


@pytest.mark.parametrize("path", ["", "/resume", "/delete", "/checkpoints", "/metrics.csv"])
def test_a_run_that_is_not_there_is_told(web: FlaskClient, path: str) -> None:
    answer = web.get(f"/runs/none{path}")
    assert answer.status_code == 404
    assert "There is no run" in answer.text


# ---------------------------------------------------------------------- stop


@pytest.mark.parametrize("kill", [False, True])
def test_stop_asks_the_store_and_confirms(
    send: Send, parts: Services, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, kill: bool
) -> None:
    run, asked = make_run(status="stopped"), []

    def stop(run_id: str, *, kill: bool) -> Run:
        asked.append((run_id, kill))
        return run

    monkeypatch.setattr(parts.store, "stop", stop)
    page = send(f"/runs/{run.run_id}/stop", follow=True, **({"now": "true"} if kill else {})).text
    assert asked == [(run.run_id, kill)]
    assert "The run is stopped." in page


def test_a_stop_that_is_refused_is_told_where_it_was_asked_for(
    send: Send, make_run: MakeRun
) -> None:
    run = make_run()
    assert "is not active" in send(f"/runs/{run.run_id}/stop", follow=True).text


# ---------------------------------------------------------------------- the queue


def test_a_queued_run_shows_its_place_and_can_be_started(
    web: FlaskClient, make_run: MakeRun
) -> None:
    run = make_run(
        status="queued",
        phase="waiting for cpu: 1 run ahead",
        queue=SECOND,
        process=process.identify(os.getpid()),
    )
    row = web.get("/").text
    assert "data-queued data-place>2nd for cpu, after baseline</span>" in row
    assert "data-progress-row hidden" in row
    page = web.get(f"/runs/{run.run_id}").text
    assert "<strong data-phase>waiting for cpu: 1 run ahead</strong>" in page
    assert "data-queued data-place>2nd for cpu, after baseline</span>" in page
    assert f'action="/runs/{run.run_id}/start" data-queued>' in page


def test_a_run_that_does_not_wait_has_no_place(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run(status="running", process=process.identify(os.getpid()))
    page = web.get(f"/runs/{run.run_id}").text
    assert f'action="/runs/{run.run_id}/start" data-queued hidden>' in page
    assert "data-queued data-place hidden></span>" in page


def test_start_now_asks_the_store_and_confirms(
    send: Send, parts: Services, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked = make_run(status="preparing"), []

    def start_now(run_id: str) -> Run:
        asked.append(run_id)
        return run

    monkeypatch.setattr(parts.store, "start_now", start_now)
    assert "The run starts now." in send(f"/runs/{run.run_id}/start", follow=True).text
    assert asked == [run.run_id]


def test_what_does_not_wait_cannot_be_started(send: Send, make_run: MakeRun) -> None:
    page = send(f"/runs/{make_run().run_id}/start", follow=True).text
    assert "does not wait for anything: it is completed." in page


# ---------------------------------------------------------------------- annotate


def test_name_tags_and_notes_are_changed_together(
    send: Send, make_run: MakeRun, store: RunStore
) -> None:
    run = make_run(name="old", tags=["a"])
    send(f"/runs/{run.run_id}/annotate", name=" new ", tags="b, c", notes="one\r\ntwo")
    notes = store.get(run.run_id).annotations
    assert (notes.name, notes.tags, notes.notes) == ("new", ["b", "c"], "one\ntwo")


def test_what_the_form_does_not_hold_stays(send: Send, make_run: MakeRun, store: RunStore) -> None:
    run = make_run(name="old", tags=["a"])
    send(f"/runs/{run.run_id}/annotate", archived="true")
    notes = store.get(run.run_id).annotations
    assert (notes.name, notes.tags, notes.archived) == ("old", ["a"], True)


def test_a_name_that_is_too_long_is_told(send: Send, make_run: MakeRun) -> None:
    run = make_run()
    page = send(f"/runs/{run.run_id}/annotate", follow=True, name="x" * 200).text
    assert "longer than 120 characters" in page


def test_labels_that_are_refused_come_back_with_the_error_at_the_field(
    send: Send, make_run: MakeRun, store: RunStore
) -> None:
    run = make_run(name="old", tags=["a"])
    typed = {"name": "new", "tags": f"b, {'t' * 41}", "notes": "mine & yours"}
    answer = send(f"/runs/{run.run_id}/annotate", **typed)
    assert answer.status_code == 422
    assert '<details class="menu" data-menu open>' in answer.text
    assert f'value="b, {"t" * 41}" aria-invalid="true"' in answer.text
    assert "The tag is longer than 40 characters." in answer.text
    assert field_of(answer.text, "name") == "new"
    assert ">mine &amp; yours</textarea>" in answer.text
    assert store.get(run.run_id).annotations.name == "old"


def test_the_address_of_a_refused_form_leads_to_its_run(
    web: FlaskClient, make_run: MakeRun
) -> None:
    run = make_run()
    assert web.get(f"/runs/{run.run_id}/annotate").location == f"/runs/{run.run_id}"


def test_a_pin_leaves_a_tag_with_a_comma_whole(
    send: Send, make_run: MakeRun, store: RunStore
) -> None:
    run = make_run(tags=["a, b"])
    send(f"/runs/{run.run_id}/annotate", pinned="true")
    assert store.get(run.run_id).annotations.tags == ["a, b"]


def test_notes_stand_near_the_head_too(send: Send, web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run()
    assert "run-notes" not in web.get(f"/runs/{run.run_id}").text
    send(f"/runs/{run.run_id}/annotate", notes="Mind the gap")
    head, _, _ = web.get(f"/runs/{run.run_id}").text.partition("</header>\n\n")
    assert "<span>Mind the gap</span>" in head


def test_the_command_can_be_pasted_into_a_shell(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run()
    meta = Meta(
        run_id=run.run_id,
        created_at=CREATED_AT,
        command=["llm-trainer", "train", "--name", "two words"],
        versions={},
    )
    write_record(run.paths.meta, meta)
    page = web.get(f"/runs/{run.run_id}").text
    assert "llm-trainer train --name &#39;two words&#39;" in page


# ---------------------------------------------------------------------- pins


def test_a_checkpoint_is_pinned_and_unpinned_on_its_run_page(
    web: FlaskClient, send: Send, make_run: MakeRun
) -> None:
    run = make_run()
    run.paths.checkpoints.mkdir(parents=True)
    a_checkpoint(run.paths.checkpoints, "best", 20)
    address = f"/runs/{run.run_id}"
    assert f'action="{address}/checkpoints/best/pin"' in web.get(address).text
    page = send(f"{address}/checkpoints/best/pin", follow=True).text
    assert "best.pt is kept for good as step-20.pt." in page
    assert f'action="{address}/checkpoints/best/pin"' not in page
    assert f'action="{address}/checkpoints/step-20/unpin"' in page
    page = send(f"{address}/checkpoints/step-20/unpin", follow=True).text
    assert "step-20.pt is not kept any more." in page
    page = send(f"{address}/checkpoints/latest/pin", follow=True).text
    assert "has no checkpoint" in page


# ---------------------------------------------------------------------- resume


@pytest.fixture
def resumable(make_run: MakeRun) -> Run:
    run = make_run(status="stopped", step=10, total_steps=30, steps_per_epoch=10, epochs=3, epoch=1)
    return with_checkpoint(with_checkpoint(run), "epoch-1")


def test_the_resume_form_says_what_will_happen(web: FlaskClient, resumable: Run) -> None:
    page = web.get(f"/runs/{resumable.run_id}/resume?from=epoch-1&more_epochs=2").text
    assert 'value="epoch-1" checked' in page
    assert "trains 40 more steps, to step 50" in page
    sentence = web.get(
        f"/runs/{resumable.run_id}/resume?more_epochs=nine", headers={"HX-Request": "true"}
    ).text
    assert sentence == "More epochs must be a whole number, 0 or more."


def test_a_run_is_resumed_once(
    send: Send, parts: Services, resumable: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def resume(run_id: str, **given: Any) -> Run:
        asked.append((run_id, given))
        return resumable

    monkeypatch.setattr(parts.store, "resume", resume)
    path = f"/runs/{resumable.run_id}/resume"
    answers = [
        send(path, **{"from": "epoch-1", "more_epochs": "2", "submission": "abc"}) for _ in "12"
    ]
    assert {answer.location for answer in answers} == {f"/runs/{resumable.run_id}"}
    expected = {"more_epochs": 2, "source": "epoch-1", "now_anyway": False}
    assert asked == [(resumable.run_id, expected)]


def test_a_resume_need_not_wait(
    send: Send, parts: Services, resumable: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(
        parts.store, "resume", lambda *_, now_anyway, **__: asked.append(now_anyway)
    )
    path = f"/runs/{resumable.run_id}/resume"
    send(path, now_anyway="true")
    assert asked == [True]
    refused = send(path, now_anyway="true", more_epochs="two").text
    assert 'name="now_anyway" value="true" checked' in refused


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"from": "latest", "more_epochs": "two"}, "&#39;two&#39; is not a whole number"),
        ({"from": "latest", "more_epochs": "-1"}, "Give 0 or more."),
        ({"from": "nonsense", "more_epochs": "1"}, "is not a checkpoint"),
    ],
)
def test_a_resume_that_cannot_be_is_told_beside_the_form(
    send: Send, resumable: Run, given: dict[str, str], words: str
) -> None:
    answer = send(f"/runs/{resumable.run_id}/resume", **given)
    assert answer.status_code == 422
    assert words in answer.text
    assert f'value="{given["more_epochs"]}"' in answer.text


def test_a_complete_run_is_offered_one_more_epoch(web: FlaskClient, make_run: MakeRun) -> None:
    run = with_checkpoint(make_run(step=10, total_steps=10, steps_per_epoch=10, epochs=1))
    page = web.get(f"/runs/{run.run_id}/resume").text
    assert field_of(page.replace('id="more" ', ""), "more_epochs") == "1"


def test_what_was_never_saved_is_told_in_one_sentence(web: FlaskClient, make_run: MakeRun) -> None:
    page = web.get(f"/runs/{make_run(status='running').run_id}").text
    assert "clone it to start again" in page
    assert "llm-trainer train --config" not in page.partition('id="page-data"')[0]


def test_without_a_checkpoint_a_clone_is_offered(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run(status="failed")
    page = web.get(f"/runs/{run.run_id}").text
    assert "<span data-resumable hidden>" in page
    assert '<a class="button button-primary" data-clone' in page
    assert "There is no checkpoint to go on from." in web.get(f"/runs/{run.run_id}/resume").text


# ---------------------------------------------------------------------- delete


def test_a_run_is_deleted_after_a_question_and_can_be_brought_back(
    web: FlaskClient, send: Send, make_run: MakeRun, store: RunStore
) -> None:
    run = with_checkpoint(make_run(name="junk"))
    question = web.get(f"/runs/{run.run_id}/delete").text
    assert "Delete junk?" in question
    assert "1 checkpoint of 7 B together" in question
    page = send(f"/runs/{run.run_id}/delete", follow=True).text
    assert "“junk” was deleted" in page
    assert store.list().total == 0
    answer = send("/runs/restore", run=run.run_id)
    assert answer.location == f"/runs/{run.run_id}"
    assert store.get(run.run_id).title == "junk"


def test_a_run_that_is_active_cannot_be_deleted(
    send: Send, parts: Services, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()

    def refuse(_: str) -> None:
        raise ConflictError("The run is active.", "Stop it first, then delete it.")

    monkeypatch.setattr(parts.store, "delete", refuse)
    assert "Stop it first, then delete it." in send(f"/runs/{run.run_id}/delete", follow=True).text


# ---------------------------------------------------------------------- playground


def test_a_text_is_written_without_scripts(send: Send, make_run: MakeRun) -> None:
    run = with_checkpoint(make_run(name="poet"))
    page = send("/playground", model=f"{run.run_id} latest", prompt="Tell", seed="5").text
    assert '<span class="written-prompt">Tell</span><span>Once upon a time</span>' in page
    assert "<span>4 tokens · 100 tok/s · seed 5 · reached the length</span>" in page


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ({"temperature": "hot"}, 422, "Give a number of 0 or more."),
        ({"max_new_tokens": "99999"}, 422, "Give a whole number from 1 to 1,000."),
        ({"model": "none latest"}, 404, "There is no run"),
        ({"prompt": "fail"}, 422, "The checkpoint is damaged."),
        ({"stop": "x\n" * 17}, 422, "Give at most 16 texts, one a line."),
    ],
)
def test_a_text_that_cannot_be_written_is_told(
    send: Send, make_run: MakeRun, given: dict[str, str], status: int, words: str
) -> None:
    run = with_checkpoint(make_run())
    answer = send("/playground", **{"model": f"{run.run_id} latest", "prompt": "x"} | given)
    assert answer.status_code in (status, 500)
    assert words in answer.text


def test_without_a_checkpoint_nothing_can_write(web: FlaskClient, make_run: MakeRun) -> None:
    make_run()
    assert "No model can write yet" in web.get("/playground").text


def test_a_link_carries_the_prompt_and_the_settings(web: FlaskClient, make_run: MakeRun) -> None:
    run = with_checkpoint(make_run(name="poet"))
    query = {"run": run.run_id, "prompt": "\nTell <me>", "top_p": "5", "stop": "\\n"}
    page = web.get("/playground", query_string=query).text
    assert ">\n\nTell &lt;me&gt;</textarea>" in page
    assert ">\\n</textarea>" in page
    assert "Give a number above 0, up to 1." in page
    assert f'<option value="{run.run_id} latest"' in page


def test_a_run_that_has_saved_nothing_yet_says_so(web: FlaskClient, make_run: MakeRun) -> None:
    with_checkpoint(make_run(name="poet"))
    early = make_run(name="early", status="running", process=identify(os.getpid()))
    page = web.get(f"/playground?run={early.run_id}").text
    assert '<option value="" disabled>early · no checkpoint yet</option>' in page
    assert "has not saved a checkpoint yet" in page


@pytest.mark.parametrize("place", ["/playground", "/playground/score"])
def test_a_link_to_a_model_that_is_gone_says_what_is_chosen_instead(
    web: FlaskClient, make_run: MakeRun, place: str
) -> None:
    run = with_checkpoint(make_run(name="poet"))
    instead = "Another model is chosen."
    assert f"There is no run nope. {instead}" in web.get(f"{place}?run=nope").text
    lost = web.get(f"{place}?run={run.run_id}&checkpoint=epoch-9").text
    assert f"poet has no checkpoint epoch-9. {instead}" in lost
    for there in (f"?run={run.run_id}", f"?run={run.run_id}&checkpoint=latest", "?run=latest", ""):
        assert instead not in web.get(place + there).text


def test_the_choice_of_models_can_be_asked_for_again(web: FlaskClient, make_run: MakeRun) -> None:
    run = with_checkpoint(make_run(name="poet"))
    told = web.get("/playground/models").json
    assert told is not None
    [model] = told["models"]
    assert (model["title"], model["heading"]) == ("poet", "poet · completed")
    assert model["options"][0]["value"] == f"{run.run_id} latest"


# ---------------------------------------------------------------------- score


def test_a_text_is_scored_without_scripts(send: Send, make_run: MakeRun) -> None:
    run = with_checkpoint(make_run(name="poet"))
    page = send("/playground/score", model=f"{run.run_id} latest", text="Once\r\nupon").text
    assert (
        '<span class="token" title="61 % · 0.7 bits"><span class="ink">Once</span></span>' in page
    )
    assert "<dt>Perplexity</dt><dd>1.649<small>" in page
    assert "2 tokens, 2 words, 9 bytes" in page
    assert "<h2>poet · latest" in page


def test_two_models_stand_in_one_table_without_scripts(send: Send, make_run: MakeRun) -> None:
    run, other = with_checkpoint(make_run(name="poet")), with_checkpoint(make_run(name="clerk"))
    asked = {"model": f"{run.run_id} latest", "other": f"{other.run_id} latest", "text": "Once"}
    page = send("/playground/score", **asked).text
    assert page.count('<td class="number">1.649</td>') == 4
    assert '<td class="number" colspan="2">1 token, 1 word, 4 bytes</td>' in page
    assert "<small>best</small>" not in page


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ({"text": ""}, 422, "Paste a text, or write one."),
        ({"text": "x" * 50_001}, 422, "The text has 50,001 characters; at most 50,000 fit here."),
        ({"text": "fail"}, 422, "The checkpoint is damaged."),
        ({"model": "none latest"}, 404, "There is no run"),
    ],
)
def test_a_text_that_cannot_be_scored_is_told_and_kept(
    send: Send, make_run: MakeRun, given: dict[str, str], status: int, words: str
) -> None:
    run = with_checkpoint(make_run())
    asked = {"model": f"{run.run_id} latest", "text": "Once"} | given
    answer = send("/playground/score", **asked)
    assert answer.status_code == status
    assert words in answer.text
    assert f">{asked['text']}</textarea>" in answer.text


# ---------------------------------------------------------------------- help


def test_the_help_names_addresses_that_there_are(app: Flask, web: FlaskClient) -> None:
    page = web.get("/help").text
    named = re.findall(r"<code>(GET|POST) (/(?:api|v1)/[^<]*)</code>", page)
    routes = app.url_map.bind("localhost")
    assert len(named) == 14
    assert all(routes.test(path, method) for method, path in named)
    assert "curl -s http://localhost/api/runs/latest" in page


# ---------------------------------------------------------------------- errors


def test_an_error_page_says_what_to_do(app: Flask) -> None:
    @app.get("/broken")
    def broken() -> str:
        raise TrainerError("It broke.", "Mend it.")

    answer = app.test_client().get("/broken")
    assert answer.status_code == 500
    assert ("It broke." in answer.text, "Mend it." in answer.text) == (True, True)
