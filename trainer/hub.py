"""The Hugging Face hub seen from outside: does it answer, and what of it is already here?"""

from __future__ import annotations

import http.client
import os
import queue
import socket
import ssl
import threading
import urllib.error
import urllib.request
from pathlib import Path

import msgspec

from trainer import datafiles

DEFAULT_ENDPOINT = "https://huggingface.co"
_OFFLINE_SWITCHES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
_TRUE_WORDS = {"1", "on", "yes", "true"}


def endpoint() -> str:
    """Return the address of the hub or of the mirror that ``HF_ENDPOINT`` chooses."""
    return (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


def offline_switch() -> str | None:
    """Return the environment variable that forbids going online, if one is set."""
    for name in _OFFLINE_SWITCHES:
        if os.environ.get(name, "").lower() in _TRUE_WORDS:
            return name
    return None


# --------------------------------------------------------------------------- does it answer?


def hub_answers(timeout_seconds: float = 3.0) -> tuple[bool, str]:
    """Ask the hub for a sign of life, for at most ``timeout_seconds``.

    Returns whether it answers, and in words why not (empty when it does).
    """
    switch = offline_switch()
    if switch is not None:
        return False, f"{switch} is set"
    # Looking up a name takes no time limit, so the question is put in a thread that may be left.
    reasons: queue.SimpleQueue[str] = queue.SimpleQueue()
    ask = threading.Thread(
        target=lambda: reasons.put(_why_silent(endpoint(), timeout_seconds)), daemon=True
    )
    ask.start()
    try:
        reason = reasons.get(timeout=timeout_seconds)
    except queue.Empty:
        reason = "no answer"
    return not reason, reason


def _why_silent(address: str, timeout_seconds: float) -> str:
    """Return an empty text when ``address`` answers, else the reason why not."""
    if not address.startswith(("https://", "http://")):
        return f"HF_ENDPOINT = '{address}' is not a web address"
    request = urllib.request.Request(address + "/", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds):
            return ""
    except urllib.error.HTTPError as error:
        # "Not found" and "not allowed" are answers too; only a broken server is as good as none.
        return "" if error.code < 500 else f"it answers {error.code} {error.reason}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return _in_words(getattr(error, "reason", error))


def _in_words(error: object) -> str:
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__


# --------------------------------------------------------------------------- what is here?


def prepared_folder(name: str, config: str | None) -> Path | None:
    """Find the folder in which ``datasets`` keeps a hub dataset it once downloaded.

    Its layout is ``<owner>___<name>/<config>/<version>/<hash>/*.arrow``.
    """
    caches = _child_folders(_datasets_cache())
    configs = [c for cache in caches if _names(cache, name) for c in _child_folders(cache)]
    if config is not None:
        configs = [folder for folder in configs if folder.name == config]
    if len(configs) != 1:
        return None
    found = (file.parent for file in configs[0].glob("*/*/dataset_info.json"))
    # While it prepares a dataset, the library works in a folder of this name.
    complete = [f for f in found if f.suffix != ".incomplete" and arrow_files(f)]
    return max(complete, key=lambda folder: folder.stat().st_mtime, default=None)


class _PreparedSplit(msgspec.Struct):
    num_examples: int | None = None


class _PreparedInfo(msgspec.Struct):
    """The part of ``dataset_info.json`` that tells of the splits and the licence."""

    splits: dict[str, _PreparedSplit] = {}
    license: str = ""


def _prepared_info(folder: Path) -> _PreparedInfo:
    try:
        content = (folder / "dataset_info.json").read_bytes()
        return msgspec.json.decode(content, type=_PreparedInfo)
    except (OSError, msgspec.DecodeError):
        return _PreparedInfo()


def _prepared_splits(folder: Path) -> dict[str, _PreparedSplit]:
    return _prepared_info(folder).splits


def prepared_licence(name: str, config: str | None) -> str:
    """Return the licence that a downloaded hub dataset tells of itself; empty where it does not."""
    folder = prepared_folder(name, config)
    return _prepared_info(folder).license.strip() if folder else ""


def prepared_rows(folder: Path) -> dict[str, int]:
    """Return how many rows each split of a prepared dataset must have, where that is told."""
    splits = _prepared_splits(folder).items()
    return {name: split.num_examples for name, split in splits if split.num_examples is not None}


def arrow_files(folder: Path) -> dict[str, list[Path]]:
    """Return the Arrow files of a prepared dataset by split; nothing when it is not complete."""
    files = {
        split: sorted([*folder.glob(f"*-{split}.arrow"), *folder.glob(f"*-{split}-*-of-*.arrow")])
        for split in _prepared_splits(folder)
    }
    return files if all(files.values()) else {}


def snapshot_folder(name: str, config: str | None) -> Path | None:
    """Find a whole copy of a hub dataset's repository, as ``hf download`` makes it.

    A repository of which only some configurations were fetched does not count.
    """
    repository = _hub_cache() / f"datasets--{name.replace('/', '--')}" / "snapshots"
    whole = [folder for folder in _child_folders(repository) if _is_whole(folder, config)]
    return max(whole, key=lambda folder: folder.stat().st_mtime, default=None)


def _is_whole(folder: Path, config: str | None) -> bool:
    try:
        configs = datafiles.folder_configs(folder)
    except datafiles.DatasetNameError:
        return False
    if config is not None and config not in configs:
        return False
    patterns = [pattern for patterns in configs.values() for pattern in patterns] or ["**/*"]
    return all(datafiles.data_files(folder, pattern) for pattern in patterns)


def _names(cache: Path, name: str) -> bool:
    """Say whether a cache folder is that of ``owner/Name``: it is spelled ``owner___name``."""
    plain = name.replace("/", "___").replace("_", "").lower()
    return cache.name.replace("_", "").lower() == plain and "___" in cache.name


def _child_folders(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if child.is_dir())
    except OSError:
        return []


def _home() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or Path(cache, "huggingface")).expanduser()


def _datasets_cache() -> Path:
    chosen = os.environ.get("HF_DATASETS_CACHE")
    return Path(chosen).expanduser() if chosen else _home() / "datasets"


def _hub_cache() -> Path:
    chosen = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(chosen).expanduser() if chosen else _home() / "hub"
