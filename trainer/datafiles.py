"""Local files and folders of text, judged from their beginnings before a run eats any time.

Nothing here reads a whole file: the first MiB and the size say what can be said quickly. What only
the whole text can tell is refused later, by :mod:`trainer.engine.corpus`.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import glob
import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from trainer import formats
from trainer.errors import UsageError

Format = Literal["text", "json", "csv", "parquet"]

HEAD_BYTES = 1 << 20
HEADS_READ_AT_MOST = 100
SMALLEST_TEXT_BYTES = 1024
_ROW_FORMATS: dict[str, Format] = {
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
_FOLDER_FORMATS: dict[str, Format] = _ROW_FORMATS | {".txt": "text"}
_PACKED = {".gz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".tar", ".tgz"}
_PLAIN = {".txt", ".text", ".tokens", ".md", ".rst", ".log", ".tex", ".htm", ".html", ".xml"}
FILE_SUFFIXES = frozenset({*_ROW_FORMATS, *_PACKED, *_PLAIN})
"""Suffixes that make ``folder/name.suffix`` a file, where it could be a hub id too."""

_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_CARD = "README.md"


class DatasetNameError(UsageError):
    """``data.dataset_name`` leads to nothing that can be trained on; no run is made."""

    kind = "data"
    http_status = 422


@dataclass(frozen=True)
class Head:
    """The first MiB of a file, and how large the whole file is."""

    path: Path
    size: int
    content: bytes

    @property
    def is_whole(self) -> bool:
        return self.size <= len(self.content)


def holds_wildcard(name: str) -> bool:
    """Say whether a name is a glob, not a path: ``texts/*.txt``."""
    return glob.has_magic(name) and not os.path.lexists(os.path.expanduser(name))


def find(name: str) -> Path | list[Path]:
    """Return the folder that a name leads to, or its files in alphabetical order.

    Raises:
        DatasetNameError: there is nothing of that name, or it is neither file nor folder.
    """
    path = Path(name).expanduser()
    if holds_wildcard(name):
        return _matches(name, str(path))
    if path.is_dir():
        return path
    if path.is_file():
        return [path]
    if path.exists():
        raise DatasetNameError(
            f"'{name}' is neither a file nor a folder.", "Give a text file, a glob or a folder."
        )
    raise DatasetNameError(f"There is no file or folder '{name}'.", _nearby(path))


def at_a_glance(name: str) -> tuple[str, bool]:
    """Say what a path leads to, and whether it is a single file.

    Folders and globs are not walked: this is asked while somebody is typing.

    Raises:
        DatasetNameError: there is nothing of that name.
    """
    if holds_wildcard(name):
        return "A pattern; its files are looked for when the run starts", False
    found = find(name)
    if isinstance(found, Path):
        return "A folder; it is looked into when the run starts", False
    return f"A file of {formats.size(found[0].stat().st_size)}", True


def _matches(name: str, pattern: str) -> list[Path]:
    files = sorted(p for p in map(Path, glob.glob(pattern, recursive=True)) if p.is_file())
    if not files:
        raise DatasetNameError(
            f"No file matches '{name}'.", "Check the pattern: 'texts/*.txt' takes every .txt file."
        )
    return files


def _nearby(path: Path) -> str:
    """Name the entry of the same folder that was probably meant."""
    try:
        names = set(os.listdir(path.parent)) - {path.name}
    except OSError:
        return f"Nor is there a folder '{path.parent}'; relative paths start at {Path.cwd()}."
    guesses = difflib.get_close_matches(path.name, names, n=1)
    if guesses:
        return f"Did you mean '{path.parent / guesses[0]}'?"
    return f"Relative paths start at {Path.cwd()}."


def format_of(path: Path) -> Format:
    """Tell from its suffix how a file is to be read: what is not a table of rows is text."""
    return _ROW_FORMATS.get(path.suffix.lower(), "text")


def check(name: str, config: str | None, text_column: str, needed_bytes: int) -> None:
    """Refuse a path whose text cannot be trained on, as far as a quick look can tell.

    ``needed_bytes`` is the least size of text, in bytes, that the settings can use.

    Raises:
        DatasetNameError: says what is wrong, with numbers, and what to do instead.
    """
    found = find(name)
    if isinstance(found, Path):
        _check_folder(found, name, config, text_column, needed_bytes)
        return
    if config is not None:
        raise DatasetNameError(
            f"data.dataset_config = '{config}' was given, but '{name}' has no configurations.",
            "Leave it out: --set data.dataset_config=null.",
        )
    formats = sorted({format_of(path) for path in found})
    if len(formats) > 1:
        raise DatasetNameError(
            f"'{name}' mixes files of different kinds: {', '.join(formats)}.",
            "Choose one kind, such as 'texts/*.txt'.",
        )
    _check_files(found, name, text_column, needed_bytes)


# --------------------------------------------------------------------------- files


def _check_files(files: Sequence[Path], name: str, text_column: str, needed_bytes: int) -> None:
    sizes = {path: path.stat().st_size for path in files}
    filled = [path for path in files if sizes[path]]
    if not filled:
        raise DatasetNameError(f"'{name}' is empty (0 bytes).", "Choose a file with text.")
    for path in filled[:HEADS_READ_AT_MOST]:
        check_head(read_head(path), text_column, only_file=len(filled) == 1)
    # A packed table says nothing about the size of the text in it; any other text is no larger
    # than its files.
    if not any(format_of(path) == "parquet" for path in files):
        _check_size(name, sum(sizes.values()), needed_bytes)


def read_head(path: Path) -> Head:
    """Read the beginning of a file.

    Raises:
        DatasetNameError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return Head(path, os.fstat(file.fileno()).st_size, file.read(HEAD_BYTES))
    except OSError as error:
        raise DatasetNameError(
            f"'{path}' cannot be read: {error.strerror}.", "Check its permissions."
        ) from error


def check_head(head: Head, text_column: str, *, only_file: bool) -> None:
    """Refuse a file that holds no text.

    Raises:
        DatasetNameError: it is packed, binary, one single line, or lacks the column.
    """
    if head.path.suffix.lower() in _PACKED:
        raise DatasetNameError(
            f"'{head.path}' is a packed file.", "Unpack it and give the text file inside."
        )
    file_format = format_of(head.path)
    if file_format == "parquet":
        _check_parquet(head)
    elif file_format == "text":
        _check_lines(head, decode_head(head), only_file)
    else:
        _check_column(head.path, columns_of(head.path, decode_head(head)), text_column)


def _check_parquet(head: Head) -> None:
    if not head.content.startswith(b"PAR1"):
        raise DatasetNameError(
            f"'{head.path}' is not a Parquet file: it does not begin with PAR1.",
            "Name the file for what it holds, or make it again.",
        )


def decode_head(head: Head) -> str:
    """Return the beginning of a file as text; a character cut by the end of the head is left out.

    Raises:
        DatasetNameError: the bytes are not text in UTF-8; the message says where.
    """
    if head.content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DatasetNameError(
            f"'{head.path}' is text in UTF-16, not UTF-8.",
            f"Convert it: iconv -f UTF-16 -t UTF-8 '{head.path}' > new.txt.",
        )
    nul = head.content.find(b"\0")
    if nul >= 0:
        raise _not_text(head.path, f"a NUL byte at offset {nul:,}")
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head.content, final=head.is_whole)
    except UnicodeDecodeError as error:
        bad = head.content[error.start]
        raise _not_text(head.path, f"byte 0x{bad:02x} at offset {error.start:,}") from error
    return text.removeprefix("\ufeff")


def _not_text(path: Path, what: str) -> DatasetNameError:
    return DatasetNameError(
        f"'{path}' is not text in UTF-8: there is {what}.",
        "Give a text file; an older encoding converts with: iconv -f LATIN1 -t UTF-8.",
    )


def _check_lines(head: Head, text: str, only_file: bool) -> None:
    if only_file and head.is_whole and not text.strip():
        raise DatasetNameError(
            f"'{head.path}' holds {head.size:,} bytes of white space and no text.",
            "Choose a file with text.",
        )
    if only_file and not re.search(r"[\r\n]\s*\S", text):
        extent = "" if head.is_whole else f" in its first {HEAD_BYTES:,} bytes"
        raise DatasetNameError(
            f"'{head.path}' is one single line{extent}: validation text is kept apart by lines.",
            "Break the text into lines, for example one paragraph or one sentence each.",
        )


def columns_of(path: Path, text: str) -> list[str] | None:
    """Return the columns of a table of rows from its beginning, or None when that does not tell."""
    try:
        if format_of(path) == "csv":
            return next(csv.reader(io.StringIO(text), delimiter=separator_of(path)), [])
        row: Any = msgspec.json.decode(next(filter(str.strip, text.splitlines()), ""))
    except (csv.Error, msgspec.DecodeError):
        return None
    return list(row) if isinstance(row, dict) else None


def separator_of(path: Path) -> str:
    """Return what stands between two columns of a .csv or .tsv file."""
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _check_column(path: Path, columns: list[str] | None, text_column: str) -> None:
    if columns is not None and text_column not in columns:
        raise DatasetNameError(
            f"'{path}' has no column '{text_column}'; it has: {', '.join(columns)}.",
            "Name the one that holds the text: --set data.text_column=NAME.",
        )


def _check_size(name: str, size: int, needed_bytes: int) -> None:
    if size < needed_bytes:
        raise DatasetNameError(
            f"'{name}' is too small: {size:,} bytes, and these settings need {needed_bytes:,}.",
            "Give more text, or lower training.batch_size, training.seq_length or "
            f"training.grad_accum_steps; {SMALLEST_TEXT_BYTES:,} bytes is the least.",
        )


# --------------------------------------------------------------------------- folders


class _CardConfig(msgspec.Struct):
    config_name: str = "default"
    data_files: Any = None
    data_dir: str = "."
    default: bool = False


class _Card(msgspec.Struct):
    """The part of a dataset card's front matter that is of use: configurations and licences."""

    configs: list[_CardConfig] = []
    license: Any = None


def folder_configs(folder: Path) -> dict[str, list[str]]:
    """Return the configurations that a folder's README declares, each with its file patterns.

    The layout is the hub's: https://huggingface.co/docs/hub/datasets-manual-configuration.

    Raises:
        DatasetNameError: the README's front matter cannot be understood.
    """
    return {c.config_name: [*_patterns(c.data_files, c.data_dir)] for c in _card(folder).configs}


def folder_licences(folder: Path) -> tuple[str, ...]:
    """Return the licences that a folder's README names, by the hub's identifiers.

    Raises:
        DatasetNameError: the README's front matter cannot be understood.
    """
    told = _card(folder).license
    names = told if isinstance(told, list) else [told]
    return tuple(name for name in names if isinstance(name, str) and name)


def _card(folder: Path) -> _Card:
    try:
        text = (folder / _CARD).read_text("utf-8", errors="replace")
    except OSError:
        return _Card()
    front_matter = _FRONT_MATTER.match(text)
    if front_matter is None:
        return _Card()
    try:
        return msgspec.yaml.decode(front_matter[1], type=_Card)
    except msgspec.DecodeError as error:
        raise DatasetNameError(
            f"The first lines of '{folder / _CARD}' do not describe a dataset: {error}.",
            "Mend its 'configs:' block, or give the data files themselves.",
        ) from error


def _patterns(data_files: Any, data_dir: str) -> Iterator[str]:
    """Flatten what a card may write: a pattern, a list, ``{split: pattern}``, ``{path: ...}``."""
    if data_files is None:
        yield str(Path(data_dir, "**", "*"))
    elif isinstance(data_files, str):
        yield str(Path(data_dir, data_files))
    elif isinstance(data_files, dict):
        for value in [data_files["path"]] if "path" in data_files else data_files.values():
            yield from _patterns(value, data_dir)
    elif isinstance(data_files, list):
        for value in data_files:
            yield from _patterns(value, data_dir)


def _check_folder(
    folder: Path, name: str, config: str | None, text_column: str, needed_bytes: int
) -> None:
    configs = folder_configs(folder)
    chosen = _choose_config(name, config, configs, _card(folder))
    patterns = ["**/*"] if chosen is None else configs[chosen]
    files = [path for pattern in patterns for path in data_files(folder, pattern)]
    if not files:
        where = f"configuration '{chosen}' of '{name}'" if chosen else f"'{name}'"
        raise DatasetNameError(
            f"There is no data file in {where}.",
            f"A dataset folder holds {', '.join(_FOLDER_FORMATS)} files; for other text files "
            f"give a glob such as '{name}/*'.",
        )
    _check_files(files, name, text_column, needed_bytes)


def _choose_config(
    name: str, config: str | None, configs: dict[str, list[str]], card: _Card
) -> str | None:
    listed = ", ".join(configs)
    if config is not None and config not in configs:
        if not configs:
            raise DatasetNameError(
                f"'{name}' declares no configurations, so there is no '{config}'.",
                "Leave it out: --set data.dataset_config=null.",
            )
        raise DatasetNameError(
            f"'{name}' has no configuration '{config}'; it has: {listed}.",
            "Choose one with --set data.dataset_config=NAME.",
        )
    if config is not None or not configs:
        return config
    marked = [c.config_name for c in card.configs if c.default or c.config_name == "default"]
    if len(configs) > 1 and not marked:
        raise DatasetNameError(
            f"'{name}' has several configurations and none was chosen: {listed}.",
            "Choose one with --set data.dataset_config=NAME.",
        )
    return marked[0] if marked else next(iter(configs))


def data_files(folder: Path, pattern: str) -> list[Path]:
    """Return a folder's data files that match a pattern, leaving out hidden ones."""
    matches = glob.glob(os.path.join(glob.escape(str(folder)), pattern), recursive=True)
    files = (Path(match) for match in sorted(matches))
    return [path for path in files if _is_data_file(path, folder)]


def _is_data_file(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith("__") for part in Path(os.path.relpath(path, folder)).parts)
    return path.suffix.lower() in _FOLDER_FORMATS and not hidden and path.is_file()
