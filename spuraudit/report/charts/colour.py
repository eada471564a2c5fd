"""A colour map that reads the same with every kind of colour vision, in print, and in grey: cividis.

Stops sampled from the map of Nunez, Anderton and Renslow (2018), "Optimizing colormaps with consideration for color
vision deficiency", PLOS ONE 13(7), as matplotlib ships it.
"""

from __future__ import annotations

CIVIDIS = ("#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838")
HEAT_STEPS = 50


def cividis(share: float) -> str:
    """Hex colour for 0 (dark blue) to 1 (yellow)."""
    place = min(max(share, 0.0), 1.0) * (len(CIVIDIS) - 1)
    index = min(int(place), len(CIVIDIS) - 2)
    weight = place - index
    low, high = _rgb(CIVIDIS[index]), _rgb(CIVIDIS[index + 1])
    return "#" + "".join(f"{round(a + (b - a) * weight):02x}" for a, b in zip(low, high, strict=True))


def heat_class(share: float) -> str:
    """Class of a table cell with the colour of 0 to 1: a class, since strict servers drop style attributes."""
    return f"heat-{round(min(max(share, 0.0), 1.0) * HEAT_STEPS)}"


def heat_rules() -> list[tuple[str, str, str]]:
    """Class, colour and ink of every step, for the style sheet."""
    colours = [(f"heat-{step}", cividis(step / HEAT_STEPS)) for step in range(HEAT_STEPS + 1)]
    return [(name, colour, ink_on(colour)) for name, colour in colours]


def ink_on(colour: str) -> str:
    """Black or white, whichever contrasts more with a background: 4.58 or better on any colour (WCAG 2 luminance)."""
    luminance = _luminance(colour)
    return "#ffffff" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "#000000"


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    linear = [
        channel / 12.92 if channel <= 0.03928 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in (value / 255 for value in _rgb(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
