"""Choosing what the next run trains on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.text import Text
from textual import on, work
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

from trainer import devices, formats
from trainer.errors import TrainerError
from trainer.tui.dialogs.dialog import Dialog

AS_CONFIGURED = "as-configured"


class DeviceDialog(Dialog):
    """Lists the devices; asking torch for them takes seconds and goes on in the background."""

    heading = "Device of the next run"

    class Chosen(Message):
        """A device was chosen; None leaves it to the configuration."""

        def __init__(self, preference: str | None) -> None:
            super().__init__()
            self.preference = preference

    class Probed(Message):
        """Torch has said what there is."""

        def __init__(self, answer: dict[str, Any]) -> None:
            super().__init__()
            self.answer = answer

    def __init__(self, known: dict[str, Any] | None) -> None:
        super().__init__()
        self._known = known

    def compose_body(self) -> Iterable[Widget]:
        yield OptionList(*device_options(self._known), id="devices", markup=False)
        yield Label("Looking for devices …", id="probing")

    def on_mount(self) -> None:
        self.query_one("#probing").display = self._known is None
        if self._known is None:
            self._probe()

    @work(thread=True, exclusive=True)
    def _probe(self) -> None:
        try:
            answer = devices.probe()
        except TrainerError as error:
            self.app.call_from_thread(self.tell, error)
        else:
            self.app.post_message(self.Probed(answer))
            self.post_message(self.Probed(answer))

    @on(Probed)
    def list_devices(self, event: Probed) -> None:
        """Show what torch has found, keeping the cursor."""
        event.stop()
        self.query_one("#probing").display = False
        options = self.query_one("#devices", OptionList)
        highlighted = options.highlighted
        options.clear_options()
        options.add_options(device_options(event.answer))
        options.highlighted = highlighted

    def tell(self, error: TrainerError) -> None:
        """Say why torch was of no help; auto and cpu can be chosen all the same."""
        self.query_one("#probing").display = False
        super().tell(error)

    @on(OptionList.OptionSelected)
    def choose(self, event: OptionList.OptionSelected) -> None:
        """Pass on the choice and close."""
        chosen = event.option_id
        self.app.post_message(self.Chosen(None if chosen == AS_CONFIGURED else chosen))
        self.dismiss()


def device_options(answer: dict[str, Any] | None) -> list[Option]:
    """Return what can be chosen: always auto and cpu, and the devices that are known."""
    auto = f"{answer['auto']['name']}: {answer['auto']['reason']}" if answer else ""
    options = [
        Option(_line("as configured", "what the configuration says"), AS_CONFIGURED),
        Option(_line("auto", auto or "the best there is"), "auto"),
    ]
    found = answer["devices"] if answer else [{"id": "cpu", "name": "the processor"}]
    return options + [Option(_line(d["id"], device_words(d)), d["id"]) for d in found]


def device_words(device: dict[str, Any]) -> str:
    """Name a device and its memory."""
    memory = device.get("memory_bytes")
    return f"{device['name']}, {formats.size(memory)}" if memory else str(device["name"])


def _line(name: str, words: str) -> Text:
    return Text.assemble((name.ljust(16), "bold"), words)
