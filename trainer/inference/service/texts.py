"""The texts that one model writes: those under way share its batch, the others wait their turn."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import partial

from trainer.errors import TrainerError
from trainer.inference.service.attempts import attempt
from trainer.inference.service.fairness import FairQueue
from trainer.inference.service.parts import Model
from trainer.inference.service.surroundings import Surroundings
from trainer.inference.service.work import Text

MOST_ROWS_OF_ONE = 32
"""Of a batch of twice as many, so that one client never has all of it."""


class Texts:
    """Generations with one model.

    Args:
        refuse: returns why so many rows of the model can never be written at once, or None.
        has_room: makes room for so many rows if it can, and says whether there is.
    """

    def __init__(
        self,
        around: Surroundings,
        refuse: Callable[[int], TrainerError | None],
        has_room: Callable[[int], bool],
    ) -> None:
        self._around, self._refuse, self._has_room = around, refuse, has_room
        self._waiting: FairQueue[Text] = FairQueue()
        self._going: dict[Hashable, Text] = {}

    def __iter__(self) -> Iterator[Text]:
        yield from self._waiting
        yield from self._going.values()

    @property
    def waiting(self) -> int:
        """How many have not begun."""
        return len(self._waiting)

    @property
    def going(self) -> int:
        """How many are being written."""
        return len(self._going)

    @property
    def rows(self) -> int:
        """How many rows of the batch are taken."""
        return sum(text.rows for text in self._going.values())

    def put(self, text: Text) -> None:
        """Add one behind those of its client."""
        self._waiting.put(text.client, text)

    # ------------------------------------------------------------------ beginnings

    def admit(self, model: Model) -> None:
        """Let as many begin as there is room for, the clients in turn.

        One that needs more rows than are free waits for them, and others behind it.
        """
        while (text := self._waiting.first(self._may_have_more)) is not None:
            error = self._refuse(text.rows)
            if error is not None:
                self.fail(text, error)
            elif text.is_unprepared:
                self._around.prepare(text, model)
            elif text.rows <= model.batch.free_rows and self._has_room(text.rows):
                self._waiting.serve(text.client)
                self._begin(text, model)
            else:
                return

    def _may_have_more(self, text: Text) -> bool:
        rows = sum(other.rows for other in self._going.values() if other.client == text.client)
        fits = rows == 0 or rows + text.rows <= MOST_ROWS_OF_ONE
        return fits and not text.preparing

    def _begin(self, text: Text, model: Model) -> None:
        begun = attempt(partial(model.batch.add, text.key, text.command.settings))
        if isinstance(begun, TrainerError):
            text.fail(begun)
            self._around.ended(text)
        else:
            text.answer, text.started = model.answer(begun), self._around.clock()
            self._going[text.key] = text

    # ------------------------------------------------------------------ tokens

    def write(self, model: Model) -> bool:
        """Give each one token more, but those whose client is behind; say whether that was work."""
        held = {key for key, text in self._going.items() if text.peer.behind}
        if len(held) == len(self._going):
            return False
        for key, piece in model.batch.turn(held):
            self._tell(self._going[key], piece)
        return True

    def _tell(self, text: Text, piece: object) -> None:
        if isinstance(piece, TrainerError):
            self.fail(text, piece)
            return
        assert text.answer is not None
        event = text.answer.take(piece)
        if event is not None:
            text.send(event)
        if text.answer.ended:
            text.send(text.answer.done(self._around.clock() - text.started))
            self._forget(text)

    # ------------------------------------------------------------------ ends

    def cancel(self, text: Text, model: Model | None) -> None:
        """End one with what it has."""
        if text.key not in self._going:
            text.send(text.unwritten())
            self._forget(text)
        elif model is not None:
            for piece in model.batch.cancel(text.key):
                self._tell(text, piece)

    def drop(self, text: Text, model: Model | None) -> None:
        """End one that nobody waits for."""
        if text.key in self._going and model is not None:
            model.batch.cancel(text.key)
        self._forget(text)

    def spoil(self, model: Model, error: TrainerError) -> None:
        """End those under way: their batch has failed."""
        model.reset()
        for text in list(self._going.values()):
            self.fail(text, error)

    def fail(self, text: Text, error: TrainerError) -> None:
        """End one with an error."""
        text.fail(error)
        self._forget(text)

    def _forget(self, text: Text) -> None:
        if self._going.pop(text.key, None) is None:
            self._waiting.remove(text.client, text)
        self._around.ended(text)
