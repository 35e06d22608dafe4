"""What the help page explains; the same words stand in the tooltips of the other pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.store.workspace import Workspace


@dataclass(frozen=True)
class Term:
    """A number that the pages show.

    Attributes:
        short: for a tooltip.
        more: what follows it on the help page.
    """

    title: str
    short: str
    more: str = ""


TERMS: dict[str, Term] = {
    "loss": Term(
        "Loss",
        "Nats a token: how surprised the model is by the next token.",
        "The natural logarithm of one over the probability that it gave. A model that guesses "
        "evenly among 8,192 tokens has a loss of 9.01; lower is better. Losses can be ranked only "
        "among runs on the same text with the same vocabulary.",
    ),
    "train_loss": Term(
        "Training loss",
        "Nats a token, last step.",
        "Of the text that is being learned. When it falls and validation loss rises, the model is "
        "learning by heart.",
    ),
    "val_loss": Term(
        "Validation loss",
        "Nats a token on unseen text.",
        "Of text that is never trained on, measured at every evaluation.",
    ),
    "perplexity": Term(
        "Word perplexity",
        "Among how many words the model wavers, on unseen text.",
        "The exponential of its surprise a word. It does not depend on the tokenizer, so it can "
        "stand beside published figures. Words are separated by white space, and the end of a "
        "line counts as one.",
    ),
    "bits_per_byte": Term(
        "Bits per byte",
        "The model's surprise spread over the bytes of unseen text.",
        "It compares models over different texts and tokenizers; ordinary compression of English "
        "reaches about 2.",
    ),
    "tokens": Term(
        "Tokens",
        "The pieces of words that the model reads and writes.",
        "A step trains on batch size × sequence length × accumulation of them.",
    ),
    "epoch": Term("Epoch", "One pass over the whole training text."),
    "step": Term(
        "Step", "One movement of the weights, after a batch.", "Steps are counted from 1."
    ),
    "parameters": Term("Parameters", "The numbers that training moves: the size of the model."),
    "learning_rate": Term(
        "Learning rate",
        "How far each step moves the weights.",
        "It rises at the start, stays, and falls towards the end.",
    ),
    "grad_norm": Term(
        "Gradient norm",
        "Length of the gradient before it is clipped.",
        "How strongly the last batch pulls at the weights. A spike is an odd batch; a steady climb "
        "is a sign that the learning rate is too high.",
    ),
    "throughput": Term(
        "Speed",
        "Tokens trained on in a second.",
        "Evaluations, samples and checkpoints are left out of it.",
    ),
    "utilisation": Term(
        "Share of peak",
        "The model's arithmetic as a share of the fastest matrix product measured here.",
        "In the number format of the run, measured when it starts.",
    ),
    "time": Term("Time", "Time left while it trains, else taken."),
    "gpu_utilization": Term("GPU use", "Share of time in which the GPU was busy."),
    "gpu_memory": Term("GPU memory", "Memory in use on the GPU, by all programs."),
    "gpu_temperature": Term("GPU temperature", "Of the chip, in degrees Celsius."),
    "gpu_power": Term("GPU power", "Drawn by the whole card, in watts."),
    "cpu": Term("Processor", "Load of all cores together."),
    "memory": Term("Memory", "Main memory in use: by the whole machine, and by this run."),
    "smoothing": Term(
        "Smoothing",
        "A running average over the points of a curve.",
        "The thin line behind it is the curve as it was measured, and so are the numbers above a "
        "chart; the pale band shows the smallest and largest value where several steps share a "
        "pixel.",
    ),
    "estimate": Term(
        "Foreseen time and memory",
        "Before a run starts, drawn from the pace of an earlier run on the same device.",
        "What no earlier run can tell is not known yet. “Estimate on this machine” tries the run "
        "itself out for some seconds and measures.",
    ),
}


def short(key: str) -> str:
    """Return the words of a tooltip."""
    return TERMS[key].short


COMMANDS: tuple[tuple[str, str], ...] = (
    ("See all runs", "status --watch"),
    ("Start a run", "train --config quickstart"),
    ("Change a setting", "train --set training.epochs=5"),
    ("What a run would take", "train --config default --dry-run"),
    ("Stop a run", "stop --run-id latest"),
    ("Go on with it", "resume --run-id latest --more-epochs 3"),
    ("Write with it", 'generate --run-id latest --prompt "The history of"'),
    ("Measure it", "eval --run-id latest --split test"),
    ("Read its log", "logs --run-id latest --follow"),
    ("Compare runs", "compare ID ID"),
    ("Take it along", "export --run-id latest --format hf --out FOLDER"),
    ("Every setting", "config show"),
    ("Check a configuration file", "config check --config FILE"),
    ("What can be trained on", "devices"),
    ("The terminal view", "tui"),
)
"""What can be done from a terminal, and the command after ``llm-trainer``."""


@dataclass(frozen=True)
class Caller:
    """A program that can write with the models here, and how to point it at them."""

    title: str
    code: str
    more: str = ""


def callers_of(base_url: str) -> tuple[Caller, ...]:
    """Return the programs that speak OpenAI's interface, as they are pointed here.

    Args:
        base_url: of the interface, without a slash at its end.
    """
    return (
        Caller(
            "The openai package for Python",
            "from openai import OpenAI\n"
            f'client = OpenAI(base_url="{base_url}", api_key="anything")\n'
            "answer = client.completions.create(\n"
            '    model="latest", prompt="The history of", max_tokens=50\n'
            ")\n"
            "print(answer.choices[0].text)",
            "Other programs that ask for a base URL take the same one. Where two programs write at "
            "once, give each a key of its own and they take turns.",
        ),
        Caller(
            "curl",
            f"curl -N {base_url}/completions -H 'Content-Type: application/json' \\\n"
            '  -d \'{"model": "latest", "prompt": "The history of", "stream": true}\'',
        ),
        Caller(
            "lm-evaluation-harness",
            "llm-trainer export --run-id latest --format hf --out my-model\n"
            "lm_eval --model local-completions --tasks lambada_openai --model_args \\\n"
            f"  model=latest,base_url={base_url}/completions,tokenizer=my-model,"
            "max_length=256,num_concurrent=16",
            "max_length is the sequence length of the run. A longer prompt cannot be scored and is "
            "refused; one that is only continued may be longer, and its end is read.",
        ),
    )


def files_of(workspace: Workspace) -> Iterator[tuple[Path, str]]:
    """Yield where the files of this workspace are, and what is in them."""
    run = workspace.runs_dir / "RUN-ID"
    yield run / "config.toml", "The run's configuration, every value spelled out"
    yield run / "state.json", "Where it stands now"
    yield run / "metrics.sqlite3", "Every point, evaluation, sample, reading and event"
    yield run / "train.log", "The training log"
    yield run / "worker.log", "Everything the process printed"
    yield (
        workspace.checkpoints_dir / "RUN-ID",
        "latest.pt, best.pt, epoch-<n>.pt, and step-<n>.pt for those that are pinned",
    )
    yield workspace.data_dir, "Tokenizers and token files; safe to delete while nothing trains"


@dataclass(frozen=True)
class Trouble:
    """Something that goes wrong, why, and what to do."""

    title: str
    why: str
    cure: str
    command: str = ""


TROUBLES: tuple[Trouble, ...] = (
    Trouble(
        "A GPU is there and the CPU is used",
        "The torch that is installed was built without CUDA, the driver is too old for it, or "
        "CUDA_VISIBLE_DEVICES hides the GPU.",
        "This says what torch sees, and which device auto would take and why:",
        "llm-trainer devices",
    ),
    Trouble(
        "A device name means nothing here",
        "A part of a GPU's name is looked for among the GPUs of this machine. Without a match the "
        "run trains on the CPU and says so.",
        "Switch on device.strict to be refused instead.",
        "llm-trainer train --set device.preference=A30 --strict-device",
    ),
    Trouble(
        "Out of memory",
        "A step that does not fit is repeated in smaller parts at the same effective batch. At a "
        "single sequence the run fails.",
        "Choose a shorter sequence, a smaller model or a smaller vocabulary; what a run takes is "
        "told beforehand by a dry run.",
        "llm-trainer train --config default --dry-run",
    ),
    Trouble(
        "A run is interrupted",
        "Its process is gone and said nothing: it was killed, the machine restarted or slept, or "
        "memory ran out. The run page says which, as far as the kernel told.",
        "Nothing before the last checkpoint is lost. Resume it.",
        "llm-trainer resume --run-id latest",
    ),
    Trouble(
        "A run stays queued",
        "Another run has its device. It starts by itself when its turn comes, whether a page is "
        "open or not.",
        "“Start now” on its page lets it begin beside the other; both are slower then.",
    ),
    Trouble(
        "The text cannot be downloaded",
        "The hub does not answer, or the computer is offline.",
        "Train on python-docs, which needs no network, or on a file of your own.",
        "llm-trainer train --set data.dataset_name=python-docs",
    ),
    Trouble(
        "The disk is full",
        "Training goes on and says so; figures and checkpoints are written once there is room.",
        "Make room. The checkpoint before stays as it is.",
    ),
    Trouble(
        "The numbers stand still",
        "The mark at the top says whether this page is connected. The run page says when a process "
        "gives no word although it lives.",
        "Look at its log. A stop that is not heard ends the process at its deadline.",
        "llm-trainer logs --run-id latest",
    ),
)
