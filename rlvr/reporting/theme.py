"""Colours of the report: two themes, one ramp for divergence, and the WCAG contrast that holds them to it. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Lower edges of the levels of exact JS [nats]; level 0 is everything below the first one.
LEVEL_EDGES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6)
LEVELS = len(LEVEL_EDGES) + 1
MIN_TEXT_CONTRAST = 4.5  # WCAG 2.2, success criterion 1.4.3 (AA), text of normal size
RAMP_HUE = 45.0  # degrees in OKLCH: rust, told from the blue of the policy in every common colour blindness


@dataclass(frozen=True, slots=True)
class Role:
    """One colour of the page under both themes, as #rrggbb."""

    light: str
    dark: str


# Light values are all different: figures are drawn with them and each is then replaced by its CSS variable.
ROLES: dict[str, Role] = {
    "page": Role("#fbfaf8", "#14161a"),
    "card": Role("#ffffff", "#1c1f25"),
    "ink": Role("#1b1d21", "#eceae6"),
    "muted": Role("#5c6068", "#a3a8b1"),
    "line": Role("#dcd9d3", "#363a43"),
    "policy": Role("#1f5fa8", "#7db4f0"),
    "base": Role("#8a5a00", "#d9a860"),
    "third": Role("#0b7a63", "#5cc4a8"),
    "fourth": Role("#8b3f8f", "#d79bdb"),
    "fifth": Role("#4d5358", "#b3b9c2"),
    "sixth": Role("#b0352f", "#f0918a"),
}
SERIES = ("policy", "base", "third", "fourth", "fifth", "sixth")


def level_of(js: float) -> int:
    """The level 0 .. LEVELS - 1 of a divergence in nats; a value on an edge belongs to the level above."""
    return sum(js >= edge for edge in LEVEL_EDGES)


def ramp() -> tuple[Role, ...]:
    """One shade a level: lightness moves in equal steps of OKLCH, so equal steps look equally far apart."""
    top = LEVELS - 1
    return tuple(
        Role(
            light=oklch_to_hex(0.965 - 0.475 * k / top, 0.012 + 0.145 * k / top, RAMP_HUE),
            dark=oklch_to_hex(0.27 + 0.53 * k / top, 0.015 + 0.125 * k / top, RAMP_HUE),
        )
        for k in range(LEVELS)
    )


def text_on(background: str) -> str:
    """Black or white, whichever is easier to read on the background."""
    return max(("#000000", "#ffffff"), key=lambda text: contrast(text, background))


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two #rrggbb colours, 1 to 21 (WCAG 2.2, relative luminance)."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance of a #rrggbb colour, 0 to 1."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def oklch_to_hex(lightness: float, chroma: float, hue: float) -> str:
    """#rrggbb of an OKLCH colour (Ottosson 2020); chroma is lowered until sRGB can show it."""
    while True:
        linear = _oklch_to_linear(lightness, chroma, hue)
        if all(-1e-4 <= c <= 1 + 1e-4 for c in linear) or chroma <= 0:
            break
        chroma -= 0.002
    return "#" + "".join(f"{round(255 * _encode(c)):02x}" for c in linear)


def css_variables(theme: str) -> str:
    """The declarations `--name: #rrggbb;` of a theme, `light` or `dark`."""
    lines = [f"--{name}: {getattr(role, theme)};" for name, role in ROLES.items()]
    for level, role in enumerate(ramp()):
        shade = getattr(role, theme)
        lines += [f"--d{level}: {shade};", f"--t{level}: {text_on(shade)};"]
    return " ".join(lines)


def _oklch_to_linear(lightness: float, chroma: float, hue: float) -> Sequence[float]:
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


def _encode(linear: float) -> float:
    linear = min(max(linear, 0.0), 1.0)
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
