"""Starting, resuming and stopping runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from trainer.cli.estimating import estimate_lines
from trainer.cli.options import command, run_id_option
from trainer.cli.output import commands_to_try, note, say, screen_width
from trainer.cli.session import PROGRAM, Session
from trainer.cli.settings import config_options, load, shortcut_layers, shortcut_options
from trainer.errors import UsageError
from trainer.queueing import place_words
from trainer.resumption import chosen_checkpoint, source_words
from trainer.store.checkpoints import any_checkpoint
from trainer.store.truth import nothing_saved_words

if TYPE_CHECKING:
    from trainer.config import Config
    from trainer.runs import Run

follow_option = click.option(
    "--follow",
    is_flag=True,
    help="Stay and show progress; Ctrl+C stops the run. The exit status is the run's.",
)


now_anyway_option = click.option(
    "--now-anyway",
    is_flag=True,
    help="Start even if the device is busy, instead of waiting for its turn.",
)


dry_run_option = click.option(
    "--dry-run",
    is_flag=True,
    help="Make no run: try it out for some seconds and tell its size, time and memory.",
)


@command(
    "train",
    "train --config quickstart --follow",
    "train --config quickstart --dry-run",
    "train --set data.dataset_name=notes.txt --name notes",
)
@config_options
@click.option("--name", metavar="N", help="Name of the run.")
@click.option("--tag", "tags", metavar="T", multiple=True, help="Tag of the run; may be repeated.")
@shortcut_options
@click.option(
    "--nproc-per-node",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Training processes; this version trains in 1.",
)
@now_anyway_option
@follow_option
@dry_run_option
@click.option("--more-epochs", hidden=True)
def train_command(
    session: Session,
    config: str | None,
    assignments: tuple[str, ...],
    name: str | None,
    tags: tuple[str, ...],
    nproc_per_node: int,
    now_anyway: bool,
    follow: bool,
    dry_run: bool,
    more_epochs: str | None,
    **shortcuts: Any,
) -> int:
    """Start a run in the background, and return at once.

    While another run of the workspace has its device it is queued, and starts by itself.

    Settings come from the configuration file, then --set, then the other options; later ones win.
    """
    if more_epochs is not None:
        raise _belongs_to_resume(session, more_epochs)
    if nproc_per_node > 1:
        raise UsageError(
            f"--nproc-per-node {nproc_per_node} is not possible: this version trains in one "
            "process on one device.",
            "Leave the option out; --grad-accum-steps gives larger batches.",
        )
    settings = load(config, assignments, *shortcut_layers(shortcuts))
    if dry_run:
        found = session.store.estimate(settings, name=name, tags=tags, tell=note)
        session.report(found, estimate_lines(found, screen_width()))
        return 0
    run_id = session.store.create(
        settings,
        name=name,
        tags=tags,
        command=[PROGRAM, *session.arguments],
        now_anyway=now_anyway,
    )
    run = session.store.get(run_id)
    session.report({"run_id": run_id}, [])
    tell = note if session.json else say
    for line in started(session, run, settings):
        tell(line)
    return _follow(session, run) if follow else 0


def _belongs_to_resume(session: Session, more_epochs: str) -> UsageError:
    ids = session.store.workspace.run_ids()
    if not ids:
        return UsageError(
            "--more-epochs belongs to resume, and there is no run to resume yet.",
            "Set the length of a new run with --set training.epochs=N.",
        )
    resume = session.command(f"resume --run-id {ids[0]} --more-epochs {more_epochs}")
    return UsageError(
        "--more-epochs belongs to resume: a new run has no epochs to add to.",
        f"To go on with the newest run: {resume}",
    )


def started(session: Session, run: Run, config: Config) -> list[str]:
    """Tell what was started, on what text and why, and what can be done next."""
    from trainer import datasource, formats
    from trainer.config import model_shape

    data = session.store.meta(run.run_id).data
    shape, training = model_shape(config.model), config.training
    parameters = formats.count(shape.parameters(config.data.vocab_size))
    if datasource.identify(config.data).kind == "path":
        # A small text of one's own may not fill the vocabulary.
        parameters = f"at most {parameters}"
    length = f"{training.epochs} epochs" if training.epochs > 1 else "1 epoch"
    if training.max_steps is not None:
        length += f", at most {training.max_steps:,} steps"
    return [
        *begun(session, run, f"Started run {run.run_id}."),
        f"It trains {parameters} parameters on {data.get('used')} for {length}.",
        *([data["reason"]] if data.get("reason") else []),
        *expectations(session.store.config(run.run_id)),
        "",
        *next_commands(session, run.run_id),
    ]


def begun(session: Session, run: Run, words: str) -> list[str]:
    """Tell that a run was launched, and of one that waits what it waits for."""
    place = place_words(run.state.queue)
    if not place:
        return [words]
    now = session.command(f"resume --run-id {run.run_id} --now-anyway")
    return [
        f"Run {run.run_id} is queued, {place}: it starts by itself when its turn comes.",
        f"To start it now all the same: {now}",
    ]


def expectations(config: Config) -> list[str]:
    """Tell at once what the run will only find out: no GPU to fit the wish, text to download."""
    from trainer import datasource
    from trainer.telemetry import Nvml

    told = []
    wish = config.device.preference
    if wish not in ("auto", "cpu") and not Nvml().read():
        told.append(f"No NVIDIA GPU answers here: it will train on the CPU, not on '{wish}'.")
    source = datasource.identify(config.data)
    if source.kind == "hub" and not datasource.is_cached(source):
        told.append(f"{source.label} is not on this computer: the run downloads it first.")
    return told


def next_commands(session: Session, run_id: str) -> list[str]:
    """Return the commands that are useful while a run goes on."""
    of_run = f"--run-id {run_id}"
    return commands_to_try(
        [
            ("watch", session.command(f"status {of_run} --watch")),
            ("log", session.command(f"logs {of_run} --follow")),
            ("stop", session.command(f"stop {of_run}")),
            ("browser", session.command("web")),
        ]
    )


def _follow(session: Session, run: Run) -> int:
    from trainer.cli.live import follow

    return follow(session, run)


@command("resume", "resume --run-id latest", "resume --run-id latest --more-epochs 3 --follow")
@run_id_option()
@click.option(
    "--more-epochs",
    type=click.IntRange(0, 100_000),
    default=0,
    metavar="N",
    help="Epochs to add. The learning rate goes on from where it stood, warms up from there to its "
    "full height and decays to the new end; it never jumps.",
)
@click.option(
    "--from",
    "source",
    metavar="latest|best|epoch-N|step-N",
    default="latest",
    show_default=True,
    help="Checkpoint to go on from; what came after it is forgotten.",
)
@now_anyway_option
@follow_option
def resume_command(
    session: Session, run_id: str, more_epochs: int, source: str, now_anyway: bool, follow: bool
) -> int:
    """Go on with a run that has ended, on the same curve.

    It goes on in the background, and the command returns at once. With --now-anyway a run that is
    queued starts at once too.
    """
    found = session.store.resolve(run_id)
    before = session.store.get(found)
    words = source_words(
        source,
        chosen_checkpoint(before.paths, source),
        None if more_epochs else before.state.total_steps,
    )
    run = session.store.resume(found, more_epochs=more_epochs, source=source, now_anyway=now_anyway)
    queued = before.status == "queued"
    goes_on = f"Run {found} goes on from {words}, {target(run, more_epochs)}."
    lines = [
        *begun(session, run, f"Run {found} starts now." if queued else goes_on),
        "",
        *next_commands(session, found),
    ]
    session.report(run.as_dict(), lines)
    return _follow(session, run) if follow else 0


def target(run: Run, more_epochs: int) -> str:
    """Say where a resumed run ends."""
    if not more_epochs:
        return "to the end that was planned"
    per_epoch = run.state.steps_per_epoch
    steps = f" ({more_epochs * per_epoch:,} steps)" if per_epoch else ""
    return f"with {more_epochs} more epoch{'s' if more_epochs > 1 else ''}{steps}"


@command("stop", "stop --run-id latest", "stop --run-id latest --deadline 300")
@run_id_option()
@click.option("--now", is_flag=True, help="Kill it: what came after its last checkpoint is lost.")
@click.option(
    "--deadline",
    type=float,
    metavar="SECONDS",
    help="Kill it if it has not ended by then.  [default: 60, or more where its steps are long]",
)
def stop_command(session: Session, run_id: str, now: bool, deadline: float | None) -> None:
    """Save a checkpoint and end a run."""
    found = session.store.resolve(run_id)
    run = session.store.stop(found, kill=now, deadline_seconds=deadline)
    session.report(run.as_dict(), [f"Run {run.run_id} {_stop_words(run)}.", *_after(session, run)])


def _stop_words(run: Run) -> str:
    """Say where a run stands after it was asked to stop."""
    if run.status == "interrupted":
        return "was killed"
    if run.status != "stopping":
        return f"is asked to stop; it is {run.status}" if run.active else f"is {run.status}"
    from trainer.runs import urgent_words

    return "; ".join(["is stopping: it saves a checkpoint first", *urgent_words(run)])


def _after(session: Session, run: Run) -> list[str]:
    """Tell what can be done after a stop: watch it, or go on where there is a checkpoint."""
    of_run = f"--run-id {run.run_id}"
    if run.active:
        return commands_to_try([("watch", session.command(f"status {of_run}"))])
    if any_checkpoint(run.paths.checkpoints):
        return commands_to_try([("go on later", session.command(f"resume {of_run}"))])
    return [session.reaching(nothing_saved_words(run.paths))]
