"""The token sheet: text can be read on every ground it stands on, in both themes (WCAG 2.2 AA)."""

from __future__ import annotations

import itertools
import re

import pytest

from trainer.assets import asset_dir

TEXT_RATIO = 4.5
GRAPHICS_RATIO = 3.0
LEAST_STEP = 1.15
TONES = ("quiet", "busy", "active", "good", "warning", "bad")
GROUNDS = ("ground", "surface", "surface-raised", "surface-sunken", "surface-hover")
SURPRISES = ("surprise-1", "surprise-2", "surprise-3", "surprise-4")
CURVES = ("train", "validation", "violet", "teal", "green", "pink", "gold", "red")

TEXTS = [
    *((text, ground) for text in ("text", "text-soft", "text-faint") for ground in GROUNDS),
    *((f"tone-{tone}", ground) for tone in TONES for ground in ("surface", f"tone-{tone}-soft")),
    *(("text", f"tone-{tone}-soft") for tone in TONES),
    *((text, "surface-selected") for text in ("text", "text-soft", "text-faint")),
    *((f"tone-{tone}", "surface-selected") for tone in TONES),
    *((f"tone-{tone}", "surface-hover") for tone in TONES),
    *(("accent", ground) for ground in (*GROUNDS, "accent-soft")),
    *((text, "accent-soft") for text in ("text", "text-soft")),
    *(("text", strength) for strength in SURPRISES),
    ("text-on-accent", "accent"),
    ("text-on-accent", "accent-hover"),
    ("text-on-bad", "tone-bad"),
    ("chart-axis", "surface"),
]
GRAPHICS = [
    *((f"curve-{name}", "surface") for name in CURVES),
    *(("line-control", ground) for ground in ("surface", "surface-raised")),
    *(("focus", ground) for ground in GROUNDS),
    *((f"tone-{tone}", "surface-raised") for tone in TONES),
    ("accent", "line"),
    ("chart-cursor", "surface"),
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


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_strengths_of_surprise_are_told_apart_by_their_lightness(theme: int) -> None:
    """Whoever sees no hue sees them get stronger all the same, each by a step that shows."""
    scale = [TOKENS[name][theme] for name in ("surface", *SURPRISES)]
    steps = [contrast(*pair) for pair in itertools.pairwise(scale)]
    assert min(steps) >= LEAST_STEP
    lightness = [luminance(color) for color in scale]
    assert lightness == sorted(lightness, reverse=theme == 0)


# ---------------------------------------------------------------------- nothing beside the sheet

STYLES = (asset_dir("static") / "css" / "app.css").read_text()
RULES = re.sub(r"/\*.*?\*/", "", STYLES, flags=re.DOTALL)


@pytest.mark.parametrize(
    "raw",
    [
        r"#[0-9a-fA-F]{3,8}\b(?=[^{}]*\})",
        r"\b(?:rgb|hsl|oklch|light-dark)a?\(",
        r"font(?:-size)?:[^;}]*\b[\d.]+(?:px|pt|rem)\b",
        r"font-weight:\s*[56789]00",
        r"font-family:(?!\s*var\()",
        r"(?:transition|animation)[^;{}]*\b[\d.]+m?s\b",
        r"border-radius:[^;}]*\b(?:6|8|10|12)px",
    ],
    ids=["hex", "color function", "type size", "weight", "family", "duration", "radius"],
)
def test_the_styles_take_it_from_the_token_sheet(raw: str) -> None:
    assert re.findall(raw, RULES) == []


def test_every_token_that_is_used_is_defined_and_every_defined_one_is_used() -> None:
    sheet = (asset_dir("static") / "css" / "tokens.css").read_text()
    defined = set(re.findall(r"^\s+--([\w-]+):", sheet, re.MULTILINE))
    pages = [*asset_dir("templates").glob("*.html"), *(asset_dir("static") / "js").glob("*.js")]
    everything = RULES + sheet + "".join(path.read_text() for path in pages)
    own = set(re.findall(r"--([\w-]+):", RULES))
    used = set(re.findall(r"var\(--([\w-]+)", everything))
    mentioned = used | set(re.findall(r"[\"'`]--([\w-]+)[\"'`]", everything))
    assert used - defined - own == set()
    assert defined - mentioned == set()


def test_colors_stand_in_no_template_and_no_script() -> None:
    """But for the sign in the browser's tab, whose ground is the browser's, not the page's."""
    paths = [*asset_dir("templates").glob("*.html"), *(asset_dir("static") / "js").glob("*.js")]
    raw = re.compile(r"[\"'\s:](#[0-9a-fA-F]{6}|#[0-9a-fA-F]{3})[\"';\s]|\bhsl\(")
    assert [path.name for path in paths if raw.search(path.read_text())] == ["tab.js"]


def test_status_is_never_told_by_color_alone() -> None:
    """Every status has a sign of its own beside its colour and its word."""
    icons = (asset_dir("templates") / "_icons.html").read_text()
    shapes = re.findall(r'<symbol id="status-(\w+)" [^>]*>(.*?)</symbol>', icons)
    assert len({shape for _, shape in shapes}) == len(shapes) >= 8
