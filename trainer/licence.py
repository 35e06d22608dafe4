"""Under which licence a text may be used, as far as its own description tells."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trainer import datafiles
from trainer.config import DataSettings
from trainer.datafiles import DatasetNameError
from trainer.datasource import Source, identify
from trainer.hub import prepared_licence, snapshot_folder

_KNOWN = {"Salesforce/wikitext": ("cc-by-sa-3.0", "gfdl"), "python-docs": ("psf-2.0",)}
"""What the publishers say, for a text whose description is not on this computer."""

_TITLES = {
    "apache-2.0": "Apache 2.0",
    "cc-by-4.0": "CC BY 4.0",
    "cc-by-sa-3.0": "CC BY-SA 3.0",
    "cc-by-sa-4.0": "CC BY-SA 4.0",
    "cc0-1.0": "CC0 1.0",
    "gfdl": "GFDL",
    "mit": "MIT",
    "odc-by": "ODC-BY",
    "psf-2.0": "PSF 2.0",
}
_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.-]*")
NOT_KNOWN = "not known: the text comes without a description that names one"


@dataclass(frozen=True)
class Licence:
    """The names of one or more licences; none where the licence is not known."""

    names: tuple[str, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """Those that are identifiers of the Hugging Face hub, not free text."""
        return tuple(name for name in self.names if _IDENTIFIER.fullmatch(name))

    @property
    def words(self) -> str:
        """Write it for people: ``CC BY-SA 3.0, GFDL``."""
        return ", ".join(_TITLES.get(name, name) for name in self.names) or NOT_KNOWN


def licence_of(data: DataSettings) -> Licence:
    """Return the licence of a text: from its card where there is one, or what is known of it."""
    try:
        source = identify(data)
        return Licence(_told(source) or _KNOWN.get(source.name, ()))
    except DatasetNameError:
        return Licence(())


def _told(source: Source) -> tuple[str, ...]:
    if source.kind == "embedded":
        return ()
    if source.kind == "path":
        found = datafiles.find(source.name)
        return () if isinstance(found, list) else datafiles.folder_licences(found)
    snapshot = snapshot_folder(source.name, source.config)
    if snapshot is not None and (on_card := datafiles.folder_licences(snapshot)):
        return on_card
    told = prepared_licence(source.name, source.config)
    return (told,) if told else ()
