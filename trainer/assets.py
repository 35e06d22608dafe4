"""Where the files that come with the program are: in the source tree, or in an installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def asset_dir(name: str) -> Path:
    """Return the folder ``configs``, ``templates`` or ``static``.

    A wheel carries them inside the package, a source tree beside it.
    """
    packaged = _PACKAGE / "assets" / name
    return packaged if packaged.is_dir() else _PACKAGE.parent / name
