"""Colours of the report: two themes, one ramp for divergence, and the WCAG contrast that holds them to it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

# Lower edges of the levels of exact JS [nats]; level 0 is everything below the first one.
LEVEL_EDGES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6)
MIN_TEXT_CONTRAST = 4.5  # WCAG 2.2, success criterion 1.4.3 (AA), text of normal size


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
# One shade a level: rust, hue 45 in OKLCH, told from the blue of the policy in every common colour blindness. Lightness
# moves in equal steps there, so equal steps look equally far apart.
RAMP = (
    Role("#fbf1ed", "#2d2420"),
    Role("#f1d7cc", "#48342b"),
    Role("#e6bdab", "#654536"),
    Role("#daa38b", "#835641"),
    Role("#ce896b", "#a3674c"),
    Role("#c16f4a", "#c37958"),
    Role("#b35525", "#e58c63"),
    Role("#9d3f02", "#ffa47a"),
)
SERIES = ("policy", "base", "third", "fourth", "fifth", "sixth")


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


def css_variables(theme: str) -> str:
    """The declarations `--name: #rrggbb;` of a theme, `light` or `dark`."""
    lines = [f"--{name}: {getattr(role, theme)};" for name, role in ROLES.items()]
    for level, role in enumerate(RAMP):
        shade = getattr(role, theme)
        lines += [f"--d{level}: {shade};", f"--t{level}: {text_on(shade)};"]
    return " ".join(lines)
