"""Byte-level BPE, and token files that are built once and mapped into memory.

A token file is a stream of little-endian 16-bit ids in which ``<|endoftext|>`` stands before each
document. Files are kept under ``data/tokens/<key>/``, where the key is a hash of the text and of
all that turns it into tokens: equal text is never tokenized twice, changed text never mistaken.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import msgspec
import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from trainer.config import DataSettings
from trainer.engine.corpus import Corpus, Split
from trainer.engine.progress import Meter, Report
from trainer.errors import StoreError, UsageError
from trainer.store.files import replace_file, sync_folder
from trainer.store.lock import RunLock
from trainer.store.records import Progress

log = logging.getLogger(__name__)

END_OF_TEXT = "<|endoftext|>"
END_OF_TEXT_ID = 0
UNKNOWN_WORD = " <unk>"
FORMAT_VERSION = 1
TOKEN_TYPE = np.dtype("<u2")

_RECIPE_VERSION = 2
"""Counts the ways in which text was turned into tokens: 2 gave ``<unk>`` a token of its own."""

_LEAST_UNKNOWN_WORDS = 100
_SEGMENT_CHARACTERS = 32 * 1024
_SEGMENTS_IN_A_BATCH = 32
_REPORT_EVERY_BYTES = 1 << 20
_LOCK_PATIENCE_SECONDS = 1.0
_MANIFEST = "manifest.json"
_TOKENIZER = "tokenizer.json"

# Where a text may be cut so that its parts are tokenized as the whole would be: behind a line
# break, where the pattern that separates words cannot look across.
_SEAM = re.compile(r"(?<=\n)(?= \S)|(?<=\S\n)(?=\S)")


class Tokenizer:
    """A byte-level BPE: encoding loses nothing, whatever the characters.

    Words are separated by the pattern of GPT-2 (Radford et al., 2019), which other programs know
    by that name and which keeps a word of WikiText and the blank before it together.
    """

    end_of_text = END_OF_TEXT_ID

    def __init__(self, text: str) -> None:
        """Build from the JSON that :meth:`to_json` returns."""
        # Said aloud, so that the library does not complain when the data loader forks.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        self._json = text
        self._tokenizer = tokenizers.Tokenizer.from_str(text)
        # Text that looks like the end-of-text mark is text.
        self._tokenizer.encode_special_tokens = True

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a tokenizer from its JSON."""
        return cls(text)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a tokenizer from a ``tokenizer.json``."""
        return cls(path.read_text("utf-8"))

    @classmethod
    def train(cls, documents: Iterable[str], vocab_size: int) -> Self:
        """Train on documents: always the same for the same documents in the same order.

        The vocabulary is ``<|endoftext|>``, the 256 bytes, and merges of pairs that occur twice
        or more; short text may yield fewer than ``vocab_size`` entries. Text that marks unknown
        words, as WikiText-2 does, has `` <unk>`` as its last entry: the pattern would make three
        tokens of it, a twelfth of all tokens there.
        """
        model = tokenizers.Tokenizer(models.BPE())
        model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        model.decoder = decoders.ByteLevel()
        documents = list(documents)
        marks_unknown = _marks_unknown_words(documents)
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - marks_unknown,
            min_frequency=2,
            special_tokens=[END_OF_TEXT],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        segments = (segment for document in documents for segment in segments_of(document))
        if marks_unknown:
            known = (segment.split(UNKNOWN_WORD) for segment in segments)
            model.train_from_iterator(known, trainer)
            model.add_tokens([tokenizers.AddedToken(UNKNOWN_WORD, normalized=False)])
        else:
            model.train_from_iterator(segments, trainer)
        return cls(model.to_str())

    def to_json(self) -> str:
        """Return the whole tokenizer as the ``tokenizer.json`` other programs read."""
        return self._json

    @property
    def vocab_size(self) -> int:
        return self._tokenizer.get_vocab_size()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self._json.encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; nothing is added before or after it.

        Raises:
            UsageError: the text holds a lone surrogate, which stands for no character.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"The text is not valid Unicode: a lone surrogate at character {error.start}.",
                "Give text in UTF-8.",
            ) from error
        return [i for ids in self.encode_batch([*segments_of(text)]) for i in ids]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of several texts, worked on by all processors."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; bytes that make no character become U+FFFD."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", errors="replace")

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes a token stands for; the end-of-text mark stands for none.

        Raises:
            IndexError: there is no such token.
        """
        return self._bytes_by_id[token]

    @functools.cached_property
    def _bytes_by_id(self) -> list[bytes]:
        letters = _byte_of_letter()
        merged = {i: name for name, i in self._tokenizer.get_vocab(with_added_tokens=False).items()}
        known = {i: bytes(letters[letter] for letter in name) for i, name in merged.items()}
        added = self._tokenizer.get_added_tokens_decoder()
        known |= {i: token.content.encode() for i, token in added.items() if not token.special}
        known[END_OF_TEXT_ID] = b""
        return [known[i] for i in range(len(known))]


def _marks_unknown_words(documents: Iterable[str]) -> bool:
    """Say whether `` <unk>`` stands in the text so often that it is no word but a mark."""
    counts = (document.count(UNKNOWN_WORD) for document in documents)
    return sum(counts) >= _LEAST_UNKNOWN_WORDS


def _byte_of_letter() -> dict[str, int]:
    """Return the byte behind each letter in which byte-level BPE writes its vocabulary.

    Printable Latin-1 characters stand for themselves; the 68 others are moved to U+0100 and up
    (GPT-2, Radford et al., 2019).
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = (byte for byte in range(256) if byte not in printable)
    return {chr(b): b for b in printable} | {chr(0x100 + n): b for n, b in enumerate(moved)}


def segments_of(text: str, characters: int = _SEGMENT_CHARACTERS) -> Iterator[str]:
    """Cut a text into pieces of at least so many characters, tokenized alone as in the whole."""
    start = 0
    while len(text) - start > characters:
        seam = _SEAM.search(text, start + characters)
        if seam is None:
            break
        yield text[start : seam.start()]
        start = seam.start()
    yield text[start:]


# --------------------------------------------------------------------------- token files


@dataclass(frozen=True)
class TokenSplit:
    """One split as a read-only stream of ids (1-D, uint16), and the counts of its text."""

    tokens: npt.NDArray[np.uint16]
    words: int
    bytes: int
    documents: int


@dataclass(frozen=True)
class TokenizedCorpus:
    """The token files of a text and the tokenizer that made them."""

    key: str
    label: str
    tokenizer: Tokenizer
    splits: dict[str, TokenSplit]
    notes: list[str] = field(default_factory=list)
    repaired: str | None = None
    """What was wrong with the files that were there before, where they had to be built again."""


class _SplitRecord(msgspec.Struct, frozen=True, kw_only=True):
    tokens: int
    words: int
    bytes: int
    documents: int


class _Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished folder of token files holds; written last."""

    version: int
    key: str
    vocab_size: int
    splits: dict[str, _SplitRecord]
    sha256: dict[str, str]


class _DamagedError(OSError):
    """A folder of token files does not hold what its manifest says."""


def prepare(
    corpus: Corpus,
    settings: DataSettings,
    data_dir: Path,
    report: Report,
    tokenizer: Tokenizer | None = None,
) -> TokenizedCorpus:
    """Return the token files of a corpus; build them if they are not there yet.

    When another process is building the same files, wait for it.

    Args:
        tokenizer: makes the tokens; None: one that is trained on the text.

    Raises:
        StoreError: the files cannot be written.
    """
    key = corpus_key(corpus, settings.vocab_size, tokenizer)
    folder = _folder(data_dir, key)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(folder.parent / f"{key}.lock", report):
            ready, damage = _open_or_damage(folder, corpus.label)
            if ready is None:
                _build(corpus, tokenizer or settings.vocab_size, key, folder, report)
                ready = _open(folder, corpus.label)
    except OSError as error:
        raise StoreError(
            f"The token files cannot be written to {folder.parent}: {error.strerror or error}.",
            "Check free space and permissions; the folder is safe to delete.",
        ) from error
    notes = [*corpus.notes, *_vocabulary_note(ready.tokenizer.vocab_size, settings.vocab_size)]
    return dataclasses.replace(ready, notes=notes, repaired=damage)


def open_prepared(data_dir: Path, key: str, label: str) -> TokenizedCorpus | None:
    """Return token files built earlier, or None when they are not there or are damaged."""
    return _open_or_damage(_folder(data_dir, key), label)[0]


def corpus_key(corpus: Corpus, vocab_size: int, tokenizer: Tokenizer | None = None) -> str:
    """Return the name of a text's token files: a hash of all that decides what is in them.

    Args:
        tokenizer: None: one that is trained on the text.
    """
    made_by = vocab_size if tokenizer is None else tokenizer.sha256
    digest = hashlib.sha256(f"{_RECIPE_VERSION} {made_by}".encode())
    for name, split in corpus.splits.items():
        digest.update(f"\0{name} {len(split.documents)}".encode())
        for document in split.documents:
            text = document.encode()
            digest.update(b"%d\0" % len(text))
            digest.update(text)
    return digest.hexdigest()[:24]


def _folder(data_dir: Path, key: str) -> Path:
    return data_dir / "tokens" / key


def _vocabulary_note(size: int, asked: int) -> list[str]:
    if size == asked:
        return []
    return [f"The text supports a vocabulary of {size:,} entries, not data.vocab_size = {asked:,}."]


@contextmanager
def _only_one(lock_path: Path, report: Report) -> Iterator[None]:
    """Hold a lock; while another process holds it, say so and wait."""
    started = time.monotonic()
    lock = RunLock.acquire(lock_path)
    if lock is None:
        log.info("Another run is preparing the same text; waiting for it.")
    while lock is None:
        waited = round(time.monotonic() - started)
        unit = "s waiting for another run"
        report(Progress(phase="tokenizing", done=waited, total=None, unit=unit))
        lock = RunLock.acquire(lock_path, _LOCK_PATIENCE_SECONDS)
    try:
        yield
    finally:
        lock.release()


# --------------------------------------------------------------------------- reading


def _open_or_damage(folder: Path, label: str) -> tuple[TokenizedCorpus | None, str | None]:
    """Open token files; where they are not there, None; where they are damaged, why too."""
    if not folder.exists():
        return None, None
    try:
        return _open(folder, label), None
    except (OSError, ValueError) as error:
        damage = f"The token files in {folder} are damaged ({error}); building them again."
        log.warning("%s", damage)
        return None, damage


def _open(folder: Path, label: str) -> TokenizedCorpus:
    """Map the files of a folder after comparing each with its checksum.

    Raises:
        OSError, ValueError: they are not what was written.
    """
    manifest = msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=_Manifest)
    if (manifest.version, manifest.key) != (FORMAT_VERSION, folder.name):
        raise _DamagedError("the manifest is that of other files")
    for name, expected in manifest.sha256.items():
        if _sha256(folder / name) != expected:
            raise _DamagedError(f"{name} has changed")
    tokenizer = Tokenizer.from_file(folder / _TOKENIZER)
    splits = {
        name: TokenSplit(_map(folder / f"{name}.bin"), record.words, record.bytes, record.documents)
        for name, record in manifest.splits.items()
    }
    return TokenizedCorpus(manifest.key, label, tokenizer, splits)


def _map(path: Path) -> npt.NDArray[np.uint16]:
    return np.memmap(path, dtype=TOKEN_TYPE, mode="r")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --------------------------------------------------------------------------- building


def _build(
    corpus: Corpus, made_by: Tokenizer | int, key: str, folder: Path, report: Report
) -> None:
    """Make all files in a folder beside the final one, then put it in place as a whole."""
    for leftover in folder.parent.glob(f".{key}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=folder.parent))
    try:
        _write_files(corpus, made_by, key, staging, report)
        shutil.rmtree(folder, ignore_errors=True)
        staging.chmod(0o755)
        staging.rename(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    sync_folder(folder.parent)


def _write_files(
    corpus: Corpus, made_by: Tokenizer | int, key: str, folder: Path, report: Report
) -> None:
    tokenizer = _tokenizer(corpus, made_by, report)
    replace_file(folder / _TOKENIZER, tokenizer.to_json().encode())
    meter = Meter(report, "tokenizing", sum(split.bytes for split in corpus.splits.values()))
    records = {
        name: _write_split(split, tokenizer, folder / f"{name}.bin", meter)
        for name, split in corpus.splits.items()
    }
    names = [_TOKENIZER, *(f"{name}.bin" for name in records)]
    manifest = _Manifest(
        version=FORMAT_VERSION,
        key=key,
        vocab_size=tokenizer.vocab_size,
        splits=records,
        sha256={name: _sha256(folder / name) for name in names},
    )
    replace_file(folder / _MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))


def _tokenizer(corpus: Corpus, made_by: Tokenizer | int, report: Report) -> Tokenizer:
    """Return the tokenizer that is given, or train one with so many entries."""
    if isinstance(made_by, Tokenizer):
        return made_by
    return Tokenizer.train(_counted(corpus.splits["train"], report), made_by)


def _counted(split: Split, report: Report) -> Iterator[str]:
    """Hand out documents, telling how much of the text the trainer has read.

    How long the merging of pairs takes that follows is not known: its total is None.
    """
    meter = Meter(report, "training tokenizer", split.bytes)
    size = 0
    for document in split.documents:
        yield document
        size += len(document.encode())
        if size - meter.done >= _REPORT_EVERY_BYTES:
            meter.at(size)
    report(Progress(phase="training tokenizer", done=size, total=None, unit="bytes"))


def _write_split(split: Split, tokenizer: Tokenizer, path: Path, meter: Meter) -> _SplitRecord:
    count = 0
    with path.open("wb") as file:
        for texts, starts in _batches(split.documents):
            for ids, starts_document in zip(tokenizer.encode_batch(texts), starts, strict=True):
                stream = [END_OF_TEXT_ID, *ids] if starts_document else ids
                file.write(np.asarray(stream, dtype=TOKEN_TYPE).tobytes())
                count += len(stream)
            meter.add(sum(len(text.encode()) for text in texts))
        file.flush()
        os.fsync(file.fileno())
    return _SplitRecord(
        tokens=count, words=split.words, bytes=split.bytes, documents=len(split.documents)
    )


def _batches(documents: Sequence[str]) -> Iterator[tuple[list[str], list[bool]]]:
    """Yield segments in batches of about a million characters, each with whether it begins a
    document."""
    texts: list[str] = []
    starts: list[bool] = []
    size = 0
    for document in documents:
        for number, segment in enumerate(segments_of(document)):
            texts.append(segment)
            starts.append(number == 0)
            size += len(segment)
            if size >= _SEGMENTS_IN_A_BATCH * _SEGMENT_CHARACTERS:
                yield texts, starts
                texts, starts, size = [], [], 0
    if texts:
        yield texts, starts
