"""The token sheet: text can be read on every ground it stands on, in both themes (WCAG 2.2 AA)."""

from __future__ import annotations

import re

import pytest

from trainer.assets import asset_dir

TEXT_RATIO = 4.5
GRAPHICS_RATIO = 3.0
TONES = ("quiet", "busy", "active", "good", "warning", "bad")
GROUNDS = ("ground", "surface", "surface-raised", "surface-sunken", "surface-hover")
CURVES = ("train", "validation", "violet", "teal", "green", "pink", "gold", "red")

TEXTS = [
    *((text, ground) for text in ("text", "text-soft", "text-faint") for ground in GROUNDS),
    *((f"tone-{tone}", ground) for tone in TONES for ground in ("surface", f"tone-{tone}-soft")),
    *(("text", f"tone-{tone}-soft") for tone in TONES),
    ("text-on-accent", "accent"),
    ("text-on-accent", "accent-hover"),
    ("accent", "surface"),
    ("accent", "ground"),
    ("text", "surface-selected"),
    ("text", "accent-soft"),
]
GRAPHICS = [
    *((f"curve-{name}", "surface") for name in CURVES),
    ("line-control", "surface"),
    ("focus", "ground"),
    ("focus", "surface"),
]


def read_tokens() -> dict[str, tuple[str, str]]:
    sheet = (asset_dir("static") / "css" / "tokens.css").read_text()
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\);", sheet)
    return {name: (light, dark) for name, light, dark in pairs}


TOKENS = read_tokens()


def luminance(color: str) -> float:
    """Relative luminance as WCAG defines it."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_black_on_white_is_21_to_1() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXTS)
def test_text_can_be_read(text: str, ground: str, theme: int) -> None:
    assert contrast(TOKENS[text][theme], TOKENS[ground][theme]) >= TEXT_RATIO


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("mark", "ground"), GRAPHICS)
def test_lines_and_controls_can_be_seen(mark: str, ground: str, theme: int) -> None:
    assert contrast(TOKENS[mark][theme], TOKENS[ground][theme]) >= GRAPHICS_RATIO
