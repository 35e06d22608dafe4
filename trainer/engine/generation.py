"""Writing text: one token after the other, each drawn from what the model expects.

The same checkpoint, settings and seed write the same texts again on the same machine: choices are
drawn from random numbers of their own, and neither global ones nor the model's mode are disturbed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from trainer.engine.batching import Batch, Told
from trainer.engine.continuation import Piece, PromptRead, TextCodec
from trainer.engine.decoding import Autocast, Decoder, decoder_for
from trainer.engine.model import GPT
from trainer.errors import TrainerError
from trainer.inference.request import GenerationSettings


def sample(
    model: GPT,
    tokenizer: TextCodec,
    settings: GenerationSettings,
    *,
    device: torch.device,
    autocast: Autocast,
) -> str:
    """Return a whole continuation of the prompt, the first of several, without the prompt."""
    pieces = stream(model, tokenizer, settings, device=device, autocast=autocast)
    return "".join(piece.text for piece in pieces if piece.row == 0)


def stream(
    model: GPT,
    tokenizer: TextCodec,
    settings: GenerationSettings,
    *,
    device: torch.device,
    autocast: Autocast,
) -> Iterator[Piece]:
    """Continue a prompt with a model as it is now; see :class:`Generation`.

    Args:
        autocast: makes the context of a forward pass on a GPU.

    Raises:
        UsageError: a setting is wrong.
        CheckpointError: the model's answer is not finite.
    """
    return Generation(decoder_for(model, device, autocast), tokenizer, settings).pieces()


class Generation:
    """One request written on its own: a :class:`trainer.engine.batching.Batch` for itself.

    Each of several texts has a seed of its own, :func:`trainer.inference.request.row_seed`, and is
    what that seed writes alone, as far as a batch can hold to that.

    Raises:
        UsageError: a setting is wrong.
    """

    def __init__(
        self, decoder: Decoder, tokenizer: TextCodec, settings: GenerationSettings
    ) -> None:
        self.prompt_read: PromptRead | None = None
        """The likelihoods of the prompt, once it was read, where they were asked for."""
        self._batch = Batch(decoder, tokenizer)
        begun = self._batch.add(self, settings)
        self.settings = begun.settings
        self.prompt_tokens, self.prompt_tokens_read = begun.prompt_tokens, begun.prompt_tokens_read

    def pieces(self, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Piece]:
        """Yield what each token adds to each text; each text ends with a finish reason.

        Args:
            should_stop: is asked before each token; True ends all texts with "cancelled".

        Raises:
            CheckpointError: the model's answer is not finite.
        """
        while not self._batch.idle:
            if should_stop():
                yield from self._batch.cancel(self)
                return
            for _, told in self._batch.turn():
                yield from self._piece(told)

    def _piece(self, told: Told) -> Iterator[Piece]:
        if isinstance(told, TrainerError):
            raise told
        if isinstance(told, PromptRead):
            self.prompt_read = told
        else:
            yield told
