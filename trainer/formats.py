"""Numbers as people say them; the exact values stay in the data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from unicodedata import category

ABSENT = "–"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def count(number: float | None) -> str:
    """Write 12_400_000 as ``12.4 M``; below ten thousand every digit is shown."""
    if number is None:
        return ABSENT
    if abs(number) < 10_000:
        return f"{number:,.0f}"
    if abs(number) < 999_500:
        return f"{number / 1e3:.3g} k"
    if abs(number) < 999_500_000:
        return f"{number / 1e6:.3g} M"
    return f"{number / 1e9:.3g} B"


def loss(value: float | None) -> str:
    """Write a loss to four digits after the point."""
    return ABSENT if value is None else f"{value:.4f}"


def perplexity(value: float | None) -> str:
    """Write a perplexity to four digits, without decimals from a thousand on."""
    if value is None:
        return ABSENT
    if value >= 99_999.5:
        return count(value)
    return f"{value:,.0f}" if value >= 999.5 else f"{value:#.4g}"


def learning_rate(value: float | None) -> str:
    """Write a learning rate to three digits: ``0.003``, ``1.5e-05``."""
    return ABSENT if value is None else f"{value:.3g}"


def speed(tokens_per_second: float | None) -> str:
    """Write ``6,120 tok/s``."""
    return ABSENT if tokens_per_second is None else f"{tokens_per_second:,.0f} tok/s"


def size(byte_count: float | None) -> str:
    """Write a number of bytes in powers of 1024: ``1.5 GiB``."""
    if byte_count is None:
        return ABSENT
    amount = float(byte_count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1023.95:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def duration(seconds: float | None) -> str:
    """Write a duration with its two largest units: ``45 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds is None:
        return ABSENT
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    if whole < 86_400:
        hours, rest = divmod(whole // 60, 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, rest = divmod(whole // 3600, 24)
    return f"{days} d {rest} h" if rest else f"{days} d"


def time_left(seconds: float | None) -> str:
    """Write ``3 min left``."""
    return ABSENT if seconds is None else f"{duration(seconds)} left"


def plural(number: int, noun: str) -> str:
    """Write ``1 step`` or ``1,200 steps``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def ordinal(number: int) -> str:
    """Write ``1st``, ``2nd``, ``3rd``, ``11th``."""
    teens = 10 < number % 100 < 20
    return f"{number:,}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def steps(spans: Sequence[tuple[int, int]]) -> str:
    """Name steps by the first and last of each span: ``step 7``, ``steps 2 to 4 and 9 to 12``.

    More than three spans are only counted, with the first and the last step of all.
    """
    if len(spans) > 3:
        number = sum(last - first + 1 for first, last in spans)
        return f"{number:,} steps between {spans[0][0]:,} and {spans[-1][1]:,}"
    words = [f"{first:,}" if first == last else f"{first:,} to {last:,}" for first, last in spans]
    one = len(spans) == 1 and spans[0][0] == spans[0][1]
    return ("step " if one else "steps ") + " and ".join(
        filter(None, (", ".join(words[:-1]), words[-1]))
    )


def countdown(seconds: float | None) -> str:
    """Say when a run that is stopping is killed; nothing for one that has no deadline."""
    if seconds is None:
        return ""
    if seconds <= 0:
        return "being killed: its deadline has passed"
    return f"killed in {duration(seconds)} unless it ends before"


def countdown_short(seconds: float) -> str:
    """Say in a narrow place when a run that is stopping is killed."""
    return "being killed" if seconds <= 0 else f"killed in {duration(seconds)} at the latest"


def dataset(name: str | None) -> str:
    """Name a text in a narrow place: a file by its last part, a data set as it is."""
    if name is None:
        return ABSENT
    is_path = name.startswith(("/", "./", "../", "~/")) or name[1:3] == ":\\"
    return name.rstrip("/").replace("\\", "/").rpartition("/")[2] if is_path else name


def silence(seconds: float | None) -> str:
    """Say that a process which lives was not heard of; nothing when it was."""
    if seconds is None:
        return ""
    return f"no word for {duration(seconds)}; the process lives (very busy, or it hangs)"


def paused(pid: int | None) -> str:
    """Say that a process is held up, and what lets it go on; nothing without one."""
    return "" if pid is None else f"paused by kill -STOP; kill -CONT {pid} lets it go on"


def harmless(text: str) -> str:
    """Put U+FFFD for control characters: text that others wrote must not drive a terminal."""
    return "".join(
        c if c.isprintable() or c in "\n\t" or category(c) == "Zs" else "\ufffd" for c in text
    )


def parse_time(stamp: str) -> datetime:
    """Read an ISO 8601 time stamp in UTC."""
    return datetime.fromisoformat(stamp).astimezone(UTC)


def moment(stamp: str) -> str:
    """Write a time in a sentence: ``2026-01-02 03:04:05 UTC``."""
    return parse_time(stamp).strftime("%Y-%m-%d %H:%M:%S UTC")


def age_seconds(stamp: str, at: datetime | None = None) -> float:
    """Return how long ago a stamp was, never less than nothing."""
    return max(0.0, ((at or datetime.now(UTC)) - parse_time(stamp)).total_seconds())


def age(stamp: str | None, at: datetime | None = None) -> str:
    """Write how long ago a stamp was: ``just now``, ``2 h ago``, after a month ``29 Jan 2026``."""
    if stamp is None:
        return ABSENT
    seconds = age_seconds(stamp, at)
    if seconds < 2:
        return "just now"
    for limit, factor, unit in ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h")):
        if seconds < limit:
            return f"{seconds // factor:.0f} {unit} ago"
    if seconds < 30 * 86_400:
        return f"{seconds // 86_400:.0f} d ago"
    then = parse_time(stamp)
    return f"{then.day} {MONTHS[then.month - 1]} {then.year}"


def kept_for(stamp: str, at: datetime | None = None) -> str:
    """Write how long something is kept that may be removed from a time on."""
    left = (parse_time(stamp) - (at or datetime.now(UTC))).total_seconds()
    return "goes next" if left <= 0 else f"{duration(left)} more"


def percent(part: float | None, whole: float | None) -> float | None:
    """Return a share in percent from 0 to 100, or None when the whole is not known."""
    if part is None or not whole:
        return None
    return min(100.0, max(0.0, 100.0 * part / whole))
