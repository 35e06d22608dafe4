"""Which pane of the shown run is in front."""

from __future__ import annotations

from textual.widgets import Tab, Tabs

PANES = ("loss", "log", "samples", "playground", "details")


class PaneTabs(Tabs):
    """One tab a pane, with the digit that brings it to the front."""

    def __init__(self) -> None:
        tabs = (Tab(f"{n} {name.title()}", id=f"tab-{name}") for n, name in enumerate(PANES, 1))
        super().__init__(*tabs, id="pane-tabs")

    @property
    def pane(self) -> str:
        """The name of the pane in front."""
        return (self.active or "tab-loss").removeprefix("tab-")

    @pane.setter
    def pane(self, name: str) -> None:
        self.active = f"tab-{name}"
