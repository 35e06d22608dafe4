"""Keys and values of the tokens that a model has read, so that one more costs one position's work.

Shapes are written as in :mod:`trainer.engine.model`. Memory is taken as it is needed, twice as
much each time, and never for more than the context.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

FIRST_POSITIONS = 64

KeysAndValues = tuple[Tensor, Tensor]


class LayerMemory(Protocol):
    """What attention asks of the memory of one block."""

    def append(self, keys: Tensor, values: Tensor) -> KeysAndValues:
        """Add the keys and values (B, K, T, D) of new tokens; return those to attend to."""


class Memory(Protocol):
    """What a model asks of a memory of the tokens before those it reads now."""

    @property
    def layers(self) -> Sequence[LayerMemory]: ...

    def after(self, count: int) -> int:
        """Return how many tokens the longest text has with ``count`` more."""

    def rotation(self, table: Tensor, count: int) -> Tensor:
        """Return the rows of a table (context, D / 2) for the next ``count`` positions."""

    def mask(self, count: int) -> Tensor | None:
        """Return which keys the next ``count`` queries see; None: all, or all before each."""


class LayerCache:
    """The keys and values of one block for texts of one length."""

    def __init__(self, context: int) -> None:
        self.length = 0
        self._context = context
        self._room: Tensor | None = None

    @property
    def room(self) -> Tensor:
        """Keys, then values: (2, B, K, positions, D), of which the first ``length`` are in use.

        Raises:
            ValueError: nothing was ever held.
        """
        if self._room is None:
            raise ValueError("The cache has no room before it holds a token")
        return self._room

    def append(self, keys: Tensor, values: Tensor) -> KeysAndValues:
        """Add the keys and values (B, K, T, D) of new tokens and return those of all tokens."""
        first, last = self.length, self.length + keys.shape[2]
        if self._room is None or last > self._room.shape[3]:
            self._grow(keys, last)
        room = self.room
        room[0, :, :, first:last] = keys
        room[1, :, :, first:last] = values
        self.length = last
        return room[0, :, :, :last], room[1, :, :, :last]

    def _grow(self, like: Tensor, positions: int) -> None:
        held, first = self._room, self.length
        size = min(_enough(FIRST_POSITIONS, positions), self._context)
        self._room = like.new_empty(2, *like.shape[:2], size, like.shape[3])
        if held is not None:
            self._room[:, :, :, :first] = held[:, :, :, :first]


class KeyValueCache:
    """The keys and values of all blocks for texts of one length; most often for a single one."""

    def __init__(self, layers: int, context: int) -> None:
        self.layers = [LayerCache(context) for _ in range(layers)]

    @property
    def length(self) -> int:
        """Tokens held."""
        return self.layers[0].length

    @property
    def bytes(self) -> int:
        """Memory taken; nothing before the first token."""
        return sum(layer.room.nbytes for layer in self.layers) if self.length else 0

    def after(self, count: int) -> int:
        """Return how many tokens there are with ``count`` more."""
        return self.length + count

    def rotation(self, table: Tensor, count: int) -> Tensor:
        """Return the rows of a table (context, D / 2) for the next ``count`` positions."""
        return table[self.length : self.length + count]

    def mask(self, count: int) -> Tensor | None:
        """Return the causal mask of several queries that follow cached keys; else none."""
        if count == 1 or self.length == 0:
            return None
        total = self.length + count
        device = self.layers[0].room.device
        return torch.ones(count, total, dtype=torch.bool, device=device).tril(self.length)


class RaggedCache:
    """The keys and values of all blocks for texts of any lengths, which read one token at a time.

    Texts lie in slots. What lies behind a text's end in its slot is never seen, and finite.
    """

    def __init__(self, context: int) -> None:
        self.lengths: list[int] = []
        self._context = context
        self._rooms: list[Tensor] = []

    @property
    def bytes(self) -> int:
        """Memory taken."""
        return sum(room.nbytes for room in self._rooms)

    @torch.inference_mode()
    def join(self, text: KeyValueCache) -> None:
        """Copy a single text into the slot behind the others."""
        slot, length = len(self.lengths), text.length
        if not self._rooms:
            self._rooms = [layer.room[:, :0] for layer in text.layers]
        self._reserve(slot + 1, length)
        for room, layer in zip(self._rooms, text.layers, strict=True):
            room[:, slot, :, :length] = layer.room[:, 0, :, :length]
        self.lengths.append(length)

    @torch.inference_mode()
    def leave(self, slot: int) -> None:
        """Forget a text; the last one takes its slot. With the last text goes all memory."""
        last = len(self.lengths) - 1
        for room in self._rooms:
            room[:, slot] = room[:, last]
            room[:, last] = 0
        self.lengths[slot] = self.lengths[last]
        self.lengths.pop()
        if not self.lengths:
            self._rooms = []

    @torch.inference_mode()
    def take(self, slot: int) -> KeyValueCache:
        """Return a text with a memory of its own, and forget it here."""
        length = self.lengths[slot]
        text = KeyValueCache(len(self._rooms), self._context)
        for layer, room in zip(text.layers, self._rooms, strict=True):
            layer.append(room[0, slot : slot + 1, :, :length], room[1, slot : slot + 1, :, :length])
        self.leave(slot)
        return text

    def rooms_for_one_more(self) -> Sequence[Tensor]:
        """Return the memory of each block, keys, then values, (2, slots, K, positions, D).

        It has a place for one token more of each text.
        """
        self._reserve(len(self.lengths), max(self.lengths) + 1)
        return self._rooms

    def advance(self) -> None:
        """Count the token more that each text has read."""
        self.lengths = [length + 1 for length in self.lengths]

    def _reserve(self, slots: int, positions: int) -> None:
        shape = self._rooms[0].shape
        if slots <= shape[1] and positions <= shape[3]:
            return
        wanted = _enough(shape[1], slots), min(_enough(shape[3], positions), self._context)
        for block, room in enumerate(self._rooms):
            self._rooms[block] = _larger(room, *wanted)


class RaggedStep:
    """Where one token more of each text goes, and what it sees."""

    def __init__(self, texts: RaggedCache) -> None:
        rooms, lengths = texts.rooms_for_one_more(), texts.lengths
        self.longest = max(lengths) + 1
        device = rooms[0].device
        self.places = torch.tensor(lengths, device=device)
        self.rows = torch.arange(len(lengths), device=device)
        self._seen: Tensor | None = None
        if min(lengths) + 1 < self.longest:
            positions = torch.arange(self.longest, device=device)
            self._seen = (positions <= self.places[:, None])[:, None, None]
        self.layers = [RaggedLayer(room, self) for room in rooms]

    def after(self, count: int) -> int:
        """Return how many tokens the longest text has with the new one."""
        return self.longest

    def rotation(self, table: Tensor, count: int) -> Tensor:
        """Return the row (B, 1, 1, D / 2) of a table at each text's next position."""
        return table[self.places][:, None, None]

    def mask(self, count: int) -> Tensor | None:
        """Return which keys each text's token sees, (B, 1, 1, positions); None: all."""
        return self._seen


class RaggedLayer:
    """One block's slots during a step."""

    def __init__(self, room: Tensor, step: RaggedStep) -> None:
        self._room, self._step = room, step

    def append(self, keys: Tensor, values: Tensor) -> KeysAndValues:
        """Add one token's keys and values (B, K, 1, D); return the padded ones of all texts."""
        step, room = self._step, self._room
        room[0][step.rows, :, step.places] = keys[:, :, 0]
        room[1][step.rows, :, step.places] = values[:, :, 0]
        held = room[:, : len(keys), :, : step.longest]
        return held[0], held[1]


def _enough(now: int, wanted: int) -> int:
    """Return a size of at least ``wanted``: doubled as often as it takes."""
    size = max(now, 1)
    while size < wanted:
        size *= 2
    return size


def _larger(room: Tensor, slots: int, positions: int) -> Tensor:
    grown = room.new_zeros(2, slots, room.shape[2], positions, room.shape[4])
    grown[:, : room.shape[1], :, : room.shape[3]] = room
    return grown
