"""What a model expects next, by the model itself: prompts everywhere, each token on a GPU.

Shapes are written as in :mod:`trainer.engine.model`; B counts texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.engine.key_values import KeyValueCache, Memory, RaggedCache, RaggedStep
from trainer.engine.model import GPT
from trainer.engine.products import Array

Autocast = Callable[[], AbstractContextManager[Any]]
Ids = npt.NDArray[np.int64]


class Decoder:
    """Reads tokens through the model itself."""

    def __init__(self, model: GPT, device: torch.device, autocast: Autocast) -> None:
        self._model, self._device, self._autocast = model, device, autocast

    @property
    def context(self) -> int:
        """Most tokens that a text can hold."""
        return self._model.context

    @property
    def bytes(self) -> int:
        """Memory taken beside the model's own."""
        return 0

    @property
    def bytes_a_row(self) -> int:
        """Most memory that one text under way can take, in float32."""
        shape = self._model.shape
        return 2 * 4 * shape.layers * shape.kv_heads * shape.head_width * self.context

    def new_cache(self) -> KeyValueCache:
        """Return an empty memory for one text."""
        return self._model.new_cache()

    def read(self, tokens: Sequence[int], text: KeyValueCache) -> Array:
        """Return the logits (V,), float32, of what follows ``tokens``.

        They continue the text, and are added to its memory.
        """
        found: Array = self.next_logits(np.array([tokens], dtype=np.int64), text)[0]
        return found

    @torch.inference_mode()
    def read_all(self, tokens: Sequence[int], text: KeyValueCache) -> Array:
        """As :meth:`read`, but return the logits (T, V) after each of the tokens."""
        with self._reading():
            rows = torch.tensor([tokens], device=self._device)
            features = self._model.features(rows, text)[0]
            logits = F.linear(features, self._model.embedding.weight)
        return cast(Array, logits.float().cpu().numpy())

    def step(self, tokens: Ids, texts: RaggedCache) -> Array:
        """Return the logits (B, V), float32, of what follows one more token (B,) of each text.

        The tokens are added to the memory of the texts.
        """
        logits = self.next_logits(tokens[:, None], RaggedStep(texts))
        texts.advance()
        return logits

    @torch.inference_mode()
    def next_logits(self, tokens: Ids, memory: Memory) -> Array:
        """Return the logits (B, V) of what follows ``tokens`` (B, T) of each text."""
        with self._reading():
            logits = self._model.next_token_logits(self._on_device(tokens), memory)
        return cast(Array, logits.cpu().numpy())

    def _on_device(self, tokens: Ids) -> Tensor:
        return torch.from_numpy(tokens).to(self._device)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Put the model into evaluation mode where it is not; to walk through it takes time."""
        was_training = self._model.training
        if was_training:
            self._model.eval()
        try:
            with self._autocast():
                yield
        finally:
            if was_training:
                self._model.train()
