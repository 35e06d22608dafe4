"""What a person may choose for the benchmarks: the text, the settings, how long."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainer import config as configuration
from trainer.config import Config

_EQUAL_SIZE = (
    "data.dataset_name=python-docs",
    "data.vocab_size=8192",
    "model.layers=4",
    "model.width=256",
    "model.heads=4",
    "training.seq_length=256",
)
"""The model that is measured, as large as the peer's."""

WHOLE_CONTEXT = "training.context_ramp=0"
"""The pair that leaves sequences whole: steps that cut them are faster, the peer's do not."""

_SMOKE = (
    "data.vocab_size=300",
    "model.layers=2",
    "model.width=32",
    "model.heads=2",
    "training.seq_length=32",
    "training.batch_size=4",
    "evaluation.prompts=['The']",
    "evaluation.sample_tokens=4",
)


@dataclass(frozen=True)
class Options:
    """How to measure.

    Args:
        config: a configuration file, or the name of a shipped one, under all that follows.
        settings: ``section.key=value`` pairs for this program's side.
        text: what to train on, as ``data.dataset_name``; None: the text that every Python carries.
        data_dir: where token files are kept from one call to the next.
        minutes: of training for the peer's side of ``quality``.
        shares: of these minutes, each of which this program gets a training of.
        peer_learning_rate: the highest of the peer's schedule in ``quality``.
        checkpoint: a trained model for ``generation`` and ``serving``; None: one that has learned
            nothing yet, or a little.
        smoke: sizes so small that the figures mean nothing, to see that everything runs.
    """

    config: str | None = None
    settings: tuple[str, ...] = ()
    text: str | None = None
    data_dir: Path = Path("artifacts/benchmark-data")
    minutes: float = 2.0
    shares: tuple[float, ...] = (1 / 16, 1 / 8, 1 / 4, 1.0)
    peer_learning_rate: float = 6e-4
    checkpoint: Path | None = None
    smoke: bool = False

    def configuration(self, *more: str) -> Config:
        """Return the configuration to measure, ``more`` pairs winning over all others.

        Raises:
            UsageError: a pair is none, or the file cannot be read.
            ConfigurationError: a setting is wrong.
        """
        text = () if self.text is None else (f"data.dataset_name={self.text}",)
        pairs = (*_EQUAL_SIZE, *(_SMOKE if self.smoke else ()), *text, *self.settings, *more)
        return configuration.load(self.config, configuration.assignments(pairs))

    @property
    def compiled(self) -> str:
        """The pair that has the step compiled; a smoke test has no time for that."""
        return f"training.compile={'off' if self.smoke else 'on'}"

    def rounds(self, wanted: int) -> int:
        """Return how often to repeat a measurement."""
        return 2 if self.smoke else wanted
