"""What people say about a run: its name, tags and notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trainer.errors import StoreError, UsageError
from trainer.store.files import read_record
from trainer.store.records import Annotations
from trainer.store.workspace import RunPaths

MAX_NAME_LENGTH = 120
MAX_TAG_LENGTH = 40
MAX_NOTES_LENGTH = 20_000


def read_annotations(paths: RunPaths) -> Annotations:
    """Read what was said of a run; nothing was said where there is no file, or a damaged one."""
    return annotations_or_damage(paths)[0]


def annotations_or_damage(paths: RunPaths) -> tuple[Annotations, str | None]:
    """Read what was said of a run, and say why that cannot be read where it cannot."""
    try:
        return read_record(paths.annotations, Annotations), None
    except (FileNotFoundError, NotADirectoryError):
        return Annotations(), None
    except StoreError as error:
        problem = error.message.replace(str(paths.annotations), paths.annotations.name)
        return Annotations(), (
            f"Name, tags and notes are not shown: {problem} The next change of them sets that "
            "file aside."
        )


def split_tags(text: str) -> tuple[str, ...]:
    """Read tags that stand between commas; each counts once."""
    return tuple(dict.fromkeys(tag for tag in (part.strip() for part in text.split(",")) if tag))


def separate_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Take tags that were given together, with commas between, for what they are: several."""
    given = [(split_tags(tag) or (tag,)) if "," in tag else (tag,) for tag in tags]
    return tuple(dict.fromkeys(tag for together in given for tag in together))


def check_annotations(
    *, name: str | None = None, tags: Sequence[str] = (), notes: str | None = None
) -> None:
    """Refuse names, tags and notes that would break a table or a filter.

    Raises:
        UsageError: with the limit.
    """
    _check_line("name", name or "", MAX_NAME_LENGTH)
    for tag in tags:
        _check_line("tag", tag, MAX_TAG_LENGTH)
        if "," in tag:
            raise UsageError(f"The tag '{tag}' holds a comma.", "Commas stand between tags.")
        if not tag.strip() or tag != tag.strip():
            raise UsageError(f"The tag '{tag}' is empty or begins or ends with a space.")
    if notes is not None and len(notes) > MAX_NOTES_LENGTH:
        raise UsageError(f"The notes are longer than {MAX_NOTES_LENGTH} characters.")


def _check_line(what: str, text: str, longest: int) -> None:
    if len(text) > longest:
        raise UsageError(f"The {what} is longer than {longest} characters.")
    if not text.isprintable():
        raise UsageError(f"The {what} holds characters that cannot be printed.")
