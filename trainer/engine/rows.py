"""Rows of text read through ``datasets``: from the hub, from what it left here, from local files.

``datasets`` and ``huggingface_hub`` are imported late: they are slow to import, and read the
environment when they are.
"""

from __future__ import annotations

import functools
import glob
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer import datafiles, datasource, hub
from trainer.config import DataSettings
from trainer.datasource import Source
from trainer.engine.progress import Meter, Report
from trainer.errors import DataError, TrainerError
from trainer.store.space import is_no_space

_QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
}
_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
}


@dataclass(frozen=True)
class Rows:
    """The rows of each split (``train``, ``validation``, ``test``: those there are)."""

    splits: dict[str, list[str]]
    whole_files: bool
    """Whether a row is a whole text file; else it is what the dataset calls a row."""


def read(source: Source, data: DataSettings, cache_dir: Path, report: Report) -> Rows:
    """Read a dataset from the hub or from local files.

    ``cache_dir`` keeps the prepared copies of local files; the hub's are kept where every other
    program on this computer finds them too. Downloads are reported in bytes.

    Raises:
        DataError: it cannot be reached or read; the message has the reason and a way out.
        DatasetNameError: there is no such file or folder.
    """
    whole_files = False
    with _told_plainly(source):
        if source.kind == "hub":
            dataset = _from_hub(source, data, report)
        else:
            dataset, whole_files = _from_path(source, cache_dir)
        column = "text" if whole_files else data.text_column
        return Rows(_texts(source, dataset, column), whole_files)


def _library() -> Any:
    """Import ``datasets`` so that it draws no bars, counts no downloads and gives no advice."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import datasets

    datasets.disable_progress_bars()
    for name in ("datasets", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return datasets


# --------------------------------------------------------------------------- local files


def _from_path(source: Source, cache_dir: Path) -> tuple[Mapping[str, Any], bool]:
    """Return the splits by name, and whether their rows are whole text files."""
    found = datafiles.find(source.name)
    if isinstance(found, Path):
        return _from_folder(found, source.config, cache_dir)
    file_format = datafiles.format_of(found[0])
    options: dict[str, Any] = {}
    if file_format == "csv":
        options["sep"] = datafiles.separator_of(found[0])
    dataset = _load_files(file_format, {"train": [str(path) for path in found]}, cache_dir, options)
    return dataset, file_format == "text"


def _from_folder(
    folder: Path, config: str | None, cache_dir: Path
) -> tuple[Mapping[str, Any], bool]:
    builder = _library().load_dataset_builder(str(folder), config, cache_dir=str(cache_dir))
    if builder.name == "text":
        return _load_files("text", builder.config.data_files, cache_dir, {}), True
    builder.download_and_prepare()
    return builder.as_dataset(), False


def _load_files(
    file_format: str,
    files: Mapping[Any, Sequence[str]],
    cache_dir: Path,
    options: dict[str, Any],
) -> Mapping[str, Any]:
    if file_format == "text":
        # Whole files: cut into rows, a text would lose how its lines end.
        options = {"sample_by": "document", "encoding": "utf-8-sig"}
    escaped = {str(split): [glob.escape(path) for path in paths] for split, paths in files.items()}
    load = functools.partial(
        _library().load_dataset,
        file_format,
        data_files=escaped,
        cache_dir=str(cache_dir),
        **options,
    )
    try:
        splits: Mapping[str, Any] = load()
        whole = not any(_missing_rows(rows) for rows in splits.values())
    except OSError as error:
        if is_no_space(error):
            raise
        whole = False
    # The prepared copy is this program's own: half of one is made again.
    return splits if whole else load(download_mode="force_redownload")


def _missing_rows(rows: Any) -> int:
    """Return how many rows a split has lost since it was prepared: it may have been cut short."""
    known = (rows.info.splits or {}).get(str(rows.split))
    return max(0, known.num_examples - rows.num_rows) if known and known.num_examples else 0


# --------------------------------------------------------------------------- the hub


def _from_hub(source: Source, data: DataSettings, report: Report) -> Mapping[str, Any]:
    """Take what is already here; ask the network only for what is not."""
    prepared = hub.prepared_folder(source.name, source.config)
    if prepared is not None:
        return _from_arrow_files(source, prepared)
    snapshot = hub.snapshot_folder(source.name, source.config)
    if snapshot is None:
        answers, reason = datasource.hub_answers()
        if not answers:
            raise unreachable(source, data, reason)
    where = source.name if snapshot is None else str(snapshot)
    builder = _library().load_dataset_builder(where, source.config)
    _download(builder, report)
    builder.download_and_prepare()
    splits: Mapping[str, Any] = builder.as_dataset()
    return splits


def _from_arrow_files(source: Source, folder: Path) -> Mapping[str, Any]:
    library = _library()
    try:
        splits = {
            split: library.concatenate_datasets([library.Dataset.from_file(str(f)) for f in files])
            for split, files in hub.arrow_files(folder).items()
        }
    except OSError as error:
        raise _damaged(source, folder, str(error)) from error
    for split, count in hub.prepared_rows(folder).items():
        if splits[split].num_rows != count:
            found = f"its split '{split}' has {splits[split].num_rows:,} of {count:,} rows"
            raise _damaged(source, folder, found)
    return splits


def _damaged(source: Source, folder: Path, why: str) -> DataError:
    return DataError(
        f"The copy of {source.label} in {folder} is damaged: {_sentence(why)}",
        "Delete that folder; the dataset is then fetched again.",
    )


def unreachable(source: Source, data: DataSettings, reason: str) -> DataError:
    """Say that the hub is needed and silent, and what else there is to train on."""
    no_config = " --set data.dataset_config=null" if data.dataset_config else ""
    config = f" --set data.dataset_config={source.config}" if source.config else ""
    return DataError(
        f"{source.label} is not on this computer yet, and the Hugging Face hub at "
        f"{hub.endpoint()} cannot be reached: {reason}.",
        "Make it reachable (HF_ENDPOINT chooses a mirror), or train on text that is here, named "
        "in the form of a new run or on the command line: "
        f"--set data.dataset_name={datasource.EMBEDDED}{no_config} (prose that every Python "
        f"carries), --set data.dataset_name=FILE.txt{no_config} (a text file), or "
        f"--set data.dataset_name=FOLDER{config} (a folder with a copy of the dataset).",
    )


def _download(builder: Any, report: Report) -> None:
    """Fetch the files a builder needs into the hub's cache, where it will find them."""
    files = builder.config.data_files or {}
    urls = [
        u for paths in files.values() for u in map(str, paths) if u.startswith("hf://datasets/")
    ]
    if not urls:
        return
    import huggingface_hub

    file_system = huggingface_hub.HfFileSystem()
    sizes = {url: int(file_system.info(url)["size"]) for url in dict.fromkeys(urls)}
    meter = Meter(report, "downloading data", sum(sizes.values()))
    finished = 0
    for url, size in sizes.items():
        file: Any = file_system.resolve_path(url)
        huggingface_hub.hf_hub_download(
            file.repo_id,
            file.path_in_repo,
            repo_type=file.repo_type,
            revision=file.revision,
            tqdm_class=_bar_class(meter),
        )
        finished += size
        # A file that was here already has told nothing.
        meter.at(finished)


def _bar_class(meter: Meter) -> type:
    """Make a class with the part of tqdm's face that ``hf_hub_download`` looks at."""

    class Bar:
        def __init__(self, *_: Any, initial: int = 0, total: int | None = None, **__: Any) -> None:
            self.total = total
            meter.add(initial)

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def update(self, byte_count: int | None = 1) -> None:
            meter.add(byte_count or 0)

        def update_transfer(self, byte_count: int) -> None:
            """Bytes on the wire may be fewer than those of the file: only the latter count."""

        def set_postfix_str(self, *_: Any, **__: Any) -> None:
            """No line of text is shown."""

        set_transfer_postfix_str = refresh = close = set_postfix_str

    return Bar


# --------------------------------------------------------------------------- the text column


def _texts(source: Source, dataset: Mapping[str, Any], column: str) -> dict[str, list[str]]:
    """Return the column of each split that has a known name."""
    named = {_SPLIT_NAMES.get(str(name), str(name)): rows for name, rows in dataset.items()}
    if len(named) == 1:
        named = {"train": next(iter(named.values()))}
    if "train" not in named:
        raise DataError(
            f"{source.label} has no split 'train'; it has: {', '.join(map(str, dataset))}.",
            "Choose another configuration with --set data.dataset_config=NAME.",
        )
    return {
        split: _text_column(source, rows, column)
        for split, rows in named.items()
        if split in ("train", "validation", "test")
    }


def _text_column(source: Source, rows: Any, column: str) -> list[str]:
    kinds = {name: getattr(kind, "dtype", "list") for name, kind in rows.features.items()}
    if kinds.get(column) not in ("string", "large_string"):
        what = f"holds {kinds[column]}, not text" if column in kinds else "is not there"
        listed = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        raise DataError(
            f"The column '{column}' of {source.label} {what}; the columns are: {listed}.",
            "Name the one that holds the text: --set data.text_column=NAME.",
        )
    return [text or "" for text in rows.select_columns([column])[:][column]]


# --------------------------------------------------------------------------- what went wrong


@contextmanager
def _told_plainly(source: Source) -> Iterator[None]:
    """Turn what ``datasets`` and the network raise into one sentence and a way out."""
    library = _library()
    from huggingface_hub.errors import HfHubHTTPError

    # The hub's own errors derive from those of its HTTP client, whichever that is.
    http_errors = HfHubHTTPError.__bases__
    try:
        yield
    except TrainerError:
        raise
    except library.exceptions.DatasetNotFoundError as error:
        raise _not_found(source, str(error)) from error
    except (library.exceptions.DatasetsError, *http_errors, OSError, ValueError) as error:
        raise _unreadable(source, error) from error


def _not_found(source: Source, said: str) -> DataError:
    if "gated" in said:
        return DataError(
            f"{source.name} is only given to those who accepted its terms: {_sentence(said)}",
            f"Accept them at {hub.endpoint()}/datasets/{source.name}, then log in: hf auth login.",
        )
    return DataError(
        f"The hub has no dataset '{source.name}' that you may read, nor is there such a path here.",
        "Check the spelling; for a private dataset log in first: hf auth login.",
    )


def _unreadable(source: Source, error: BaseException) -> DataError:
    configs = re.search(r"(?:Available|available configs): (\[.*?\])", str(error))
    if configs is not None:
        names = ", ".join(re.findall(r"'([^']+)'", configs[1]))
        asked = f"no configuration '{source.config}'" if source.config else "several configurations"
        return DataError(
            f"{source.name} has {asked}; choose one of: {names}.",
            "Choose it with --set data.dataset_config=NAME.",
        )
    # The library's own sentence says only that something failed; what failed is its cause.
    reason = _sentence(str(error.__cause__ or error) or type(error).__name__)
    if source.kind == "hub":
        return DataError(
            f"{source.label} could not be fetched from the Hugging Face hub: {reason}",
            "Try again, or train on text that is here: --set data.dataset_name=FILE.txt.",
        )
    return DataError(
        f"'{source.name}' could not be read: {reason}",
        "Check the file; a .jsonl file holds one JSON object a line, a .csv file a header row.",
    )


def _sentence(text: str) -> str:
    """Return the first line of a message, ending in a full stop."""
    line = text.strip().partition("\n")[0].strip()
    return f"{line[:300].rstrip('.')}."
