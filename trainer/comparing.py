"""Several runs beside each other: their figures, which of them is best, and what they differ in.

Every viewer ranks with this module. A loss is of a text, counted in tokens of a vocabulary: only
runs that share both can be ranked by it. Perplexity per word and bits per byte need the same text
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainer import config as configuration
from trainer import formats
from trainer.config import SETTINGS, Config, DataSettings
from trainer.datasource import UNKNOWN_TEXT
from trainer.store.records import State

Needs = Literal["nothing", "same text", "same tokens"]


@dataclass(frozen=True)
class Figure:
    """One figure of a run's state.

    Attributes:
        key: the field of the state.
        better: which value is the best one; empty: none is.
        needs: what runs must share to be ranked by it.
    """

    title: str
    key: str
    write: Callable[[Any], str]
    better: Literal["low", "high", ""] = ""
    needs: Needs = "nothing"


FIGURES: tuple[Figure, ...] = (
    Figure("Best validation loss", "best_val_loss", formats.loss, "low", "same tokens"),
    Figure(
        "Best word perplexity", "best_val_word_perplexity", formats.perplexity, "low", "same text"
    ),
    Figure("Bits per byte", "val_bits_per_byte", formats.loss, "low", "same text"),
    Figure("Training loss", "train_loss", formats.loss, "low", "same tokens"),
    Figure("Speed", "tokens_per_second", formats.speed, "high"),
    Figure("Time taken", "elapsed_seconds", formats.duration),
    Figure("Tokens seen", "tokens", formats.count),
    Figure("Steps", "step", formats.count),
    Figure("Parameters", "parameters", formats.count),
)


@dataclass(frozen=True)
class Common:
    """What compared runs share, as far as their configurations can be read."""

    text: bool
    vocabulary: bool
    words: str
    """What cannot be ranked, and why; empty when all can."""

    def allows(self, needs: Needs) -> bool:
        """Say whether runs can be ranked by a figure that needs something in common."""
        return {
            "nothing": True,
            "same text": self.text,
            "same tokens": self.text and self.vocabulary,
        }[needs]


ALL_ALIKE = Common(text=True, vocabulary=True, words="")


def in_common(configs: Iterable[Config | None]) -> Common:
    """Say what runs share; None is a configuration that cannot be read."""
    listed = list(configs)
    known = [config.data for config in listed if config is not None]
    if len(known) < len(listed):
        return Common(
            False,
            False,
            "The configuration of a run cannot be read, so nobody knows whether the runs learn "
            "from the same text: none is marked as best in loss, perplexity or bits per byte.",
        )
    if any(data.dataset_name == UNKNOWN_TEXT for data in known):
        return Common(
            False,
            False,
            "The text of an imported run is not known: none is marked as best in loss, perplexity "
            "or bits per byte.",
        )
    texts = {_text(data): _text_words(data) for data in known}
    if len(texts) > 1:
        return Common(
            False,
            False,
            f"The runs learn from different texts ({_and(texts.values())}): none is marked as "
            "best in loss, perplexity or bits per byte.",
        )
    sizes = sorted({data.vocab_size for data in known})
    if len(sizes) > 1:
        return Common(
            True,
            False,
            f"Their vocabularies have {_and(f'{size:,}' for size in sizes)} tokens: losses a token "
            "cannot be ranked; perplexity per word and bits per byte can.",
        )
    return ALL_ALIKE


def _text(data: DataSettings) -> tuple[Any, ...]:
    return (data.dataset_name, data.dataset_config, data.text_column, data.held_out_fraction)


def _text_words(data: DataSettings) -> str:
    name = data.dataset_name.rstrip("/").rpartition("/")[2] or data.dataset_name
    return f"{name} {data.dataset_config}" if data.dataset_config else name


def _and(words: Iterable[str]) -> str:
    *most, last = dict.fromkeys(words)
    return f"{', '.join(most)} and {last}" if most else f"{last}, prepared differently"


def values_of(figure: Figure, states: Sequence[State]) -> list[Any]:
    """Return one figure of every run; None where it is not known."""
    return [getattr(state, figure.key) for state in states]


def best_of(figure: Figure, values: Sequence[Any], common: Common) -> Any:
    """Return the value that is best, or None where none is: ranking needs two that differ."""
    known = [value for value in values if value is not None]
    if not figure.better or not common.allows(figure.needs) or len(set(known)) < 2:
        return None
    return min(known) if figure.better == "low" else max(known)


def setting_rows(configs: Sequence[Config | None]) -> dict[str, list[Any]]:
    """Return every setting's values, one a run; the sizes that a preset implies are spelled out.

    A run whose configuration cannot be read has :data:`UNKNOWN`.
    """
    flat = [
        None if config is None else configuration.as_flat(configuration.resolved(config))
        for config in configs
    ]
    return {key: [UNKNOWN if one is None else one[key] for one in flat] for key in SETTINGS}


def differing(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Keep the settings in which the runs that can be read are not all alike."""
    return {key: values for key, values in rows.items() if _vary(values)}


def _vary(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not UNKNOWN]
    return any(value != known[0] for value in known[1:])


class _Unknown:
    """Stands for the settings of a run whose configuration cannot be read."""

    def __repr__(self) -> str:
        return "unknown"


UNKNOWN = _Unknown()
