"""What a checkpoint tells of itself to those who get its model: facts, figures and settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer import __version__, formats
from trainer.config import Config, from_checkpoint
from trainer.licence import Licence, licence_of

Payload = Mapping[str, Any]


def facts(payload: Payload, parameters: int) -> dict[str, str]:
    """Return what the model is and how well it does; what a checkpoint lacks is left out."""
    standing = payload.get("standing", {})
    found = {
        "Training text": payload.get("corpus_label"),
        "Licence of that text": licence(payload).words,
        "Parameters": formats.count(parameters),
        "Context": f"{payload['context']:,} tokens",
        "Vocabulary": f"{payload['vocab_size']:,} entries, byte-level BPE",
        "Optimizer steps": f"{payload['step']:,}",
        "Training tokens": _known(standing.get("tokens"), formats.count),
        "Training time": _known(standing.get("elapsed_seconds"), formats.duration),
        "Validation loss": _known(payload.get("val_loss"), _nats),
        "Validation word perplexity": _known(
            payload.get("val_word_perplexity"), formats.perplexity
        ),
        "Evaluated at step": _evaluated_before(payload),
        "First weights": standing.get("imported_from"),
    }
    return {name: fact for name, fact in found.items() if fact}


def _known(value: Any, write: Any) -> str | None:
    return None if value is None else write(value)


def _nats(loss: float) -> str:
    return f"{formats.loss(loss)} nats a token"


def _evaluated_before(payload: Payload) -> str | None:
    step = payload.get("evaluated_step")
    return None if step is None or step == payload["step"] else f"{step:,}"


def settings(payload: Payload) -> dict[str, str]:
    """Return the settings that decide what a training gives, in words."""
    stored = config(payload)
    if stored is None:
        return {}
    model, training = stored.model, stored.training
    batch = training.batch_size * training.grad_accum_steps
    return {
        "Layers, width, heads": f"{model.layers}, {model.width}, {_heads(stored)}",
        "Sequences a step": f"{batch:,} of {training.seq_length:,} tokens",
        "Epochs": f"{training.epochs:,}{_cut_short(training.max_steps)}",
        "Optimizer": f"{training.optimizer}, weight decay {training.weight_decay:g}",
        "Learning rate": f"{formats.learning_rate(training.learning_rate)}, {training.schedule}",
        "Dropout": f"{model.dropout:g}",
        "Precision": _precision(payload, training.precision),
        "Seed": str(training.seed),
    }


def _precision(payload: Payload, asked: str) -> str:
    """Name the number format that was used, or else the one that was asked for."""
    used: str = payload.get("trained_on", {}).get("precision") or asked
    return "fp32" if used == "off" else used


def _heads(stored: Config) -> str:
    heads, shared = stored.model.heads, stored.model.kv_heads
    return f"{heads}" if shared in (None, heads) else f"{heads} ({shared} for keys and values)"


def _cut_short(max_steps: int | None) -> str:
    return "" if max_steps is None else f", at most {max_steps:,} steps"


def licence(payload: Payload) -> Licence:
    """Return the licence of the text that a model learned from."""
    stored = config(payload)
    return Licence(()) if stored is None else licence_of(stored.data)


def config(payload: Payload) -> Config | None:
    """Return the configuration in a checkpoint, or None for a checkpoint without one."""
    values = payload.get("config")
    return from_checkpoint(values, "checkpoint") if values else None


def sentence(payload: Payload) -> str:
    """Say in a sentence what a model is."""
    label, loss = payload.get("corpus_label"), payload.get("val_loss")
    words = f"A base model trained with llm-trainer {__version__}"
    words += f" on {label}" if label else ""
    words += f" for {payload['step']:,} steps" if payload["step"] else ""
    return words + (f"; validation loss {_nats(loss)}." if loss is not None else ".")


def model_card(title: str, payload: Payload, parameters: int) -> str:
    """Return the README of a model: what it learned from, for how long, how, and how well.

    Args:
        payload: of the checkpoint.
    """
    ids = licence(payload).ids
    front = "".join(f"\n- {name}" for name in ids)
    return _CARD.format(
        title=title,
        version=__version__,
        licence=f"license:{front}\n" if ids else "",
        facts=_table(facts(payload, parameters)),
        settings=_table(settings(payload)),
    )


def _table(rows: Mapping[str, str]) -> str:
    return "\n".join(
        ["| | |", "|---|---|", *(f"| {name} | {fact} |" for name, fact in rows.items())]
    )


_CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
{licence}---

# {title}

A base model: it continues text and follows no instructions. Trained with llm-trainer {version};
the architecture is dense Qwen3.

{facts}

The licence named here is that of the text the model learned from. Like any small model it repeats
what stood there, true or not.

## How it was trained

{settings}

## How to use it

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(".")
tokenizer = AutoTokenizer.from_pretrained(".")
tokens = tokenizer("The history of", return_tensors="pt")
print(tokenizer.decode(model.generate(**tokens, max_new_tokens=50)[0]))
```
"""
