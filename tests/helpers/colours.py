"""OKLCH (Ottosson 2020), in which the colours of the report were chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence


def oklch_to_hex(lightness: float, chroma: float, hue: float) -> str:
    """#rrggbb of an OKLCH colour (Ottosson 2020); chroma is lowered until sRGB can show it."""
    while True:
        linear = _oklch_to_linear(lightness, chroma, hue)
        if all(-1e-4 <= c <= 1 + 1e-4 for c in linear) or chroma <= 0:
            break
        chroma -= 0.002
    return "#" + "".join(f"{round(255 * _encode(c)):02x}" for c in linear)


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
