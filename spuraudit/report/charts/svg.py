"""Writing SVG elements: every attribute and every text is escaped here and nowhere else."""

from __future__ import annotations

from markupsafe import Markup, escape


def fixed(value: float) -> str:
    """Two decimals at most, so that equal records give equal bytes."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def el(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """`<name attributes>children</name>`. Plain text is escaped; `stroke_width` becomes `stroke-width`."""
    parts = [name]
    for key, value in attributes.items():
        if value is None:
            continue
        text = fixed(value) if isinstance(value, int | float) else str(value)
        parts.append(f'{key.rstrip("_").replace("_", "-")}="{escape(text)}"')
    inside = "".join(str(escape(child)) for child in children)
    head = " ".join(parts)
    return Markup(f"<{head}>{inside}</{name}>" if inside else f"<{head}/>")


def drawing(width: float, height: float, label: str, *children: str, class_: str = "") -> Markup:
    """A chart with a text alternative; it scales with its column."""
    return el(
        "svg",
        *children,
        viewBox=f"0 0 {fixed(width)} {fixed(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=label,
        class_=f"chart {class_}".strip(),
        font_family="system-ui, sans-serif",
        font_size=12,
    )


def text(
    x: float,
    y: float,
    content: str,
    *,
    tone: str = "ink",
    anchor: str = "start",
    extra: str = "",
    **attributes: str | float,
) -> Markup:
    """A label; `extra` is a further class of the style sheet."""
    name = f"fill-{tone} {extra}".strip()
    return el("text", content, x=x, y=y, text_anchor=anchor, class_=name, fill=TONES[tone], **attributes)


def line(x1: float, y1: float, x2: float, y2: float, *, tone: str = "rule", **attributes: str | float) -> Markup:
    """A straight line."""
    return el("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=f"stroke-{tone}", stroke=TONES[tone], **attributes)


TONES = {
    "ink": "#1d2126",
    "muted": "#5b636c",
    "rule": "#d9d5cb",
    "faint": "#ece9e1",
    "core": "#0b5a8f",
    "spurious": "#ad4a06",
    "clean": "#1d2126",
    "control": "#0b5a8f",
    "accent": "#5a3fa0",
    "teal": "#0f766e",
    "rose": "#a8306b",
    "slate": "#57616b",
    "paper": "#ffffff",
}
"""Colours for readers whose viewer drops style sheets; report.css gives the same names per theme."""


def marker(shape: str, x: float, y: float, tone: str, radius: float = 5, *, hollow: bool = False) -> Markup:
    """'circle', 'ring', 'diamond', 'square', 'triangle', 'cross': form and colour both tell what a point is.

    `hollow`: only the outline, on the page's ground.
    """
    common: dict[str, str | float] = {"class_": f"fill-{tone}", "fill": TONES[tone]}
    if hollow:
        common = {"class_": f"ring stroke-{tone}", "fill": TONES["paper"], "stroke": TONES[tone], "stroke_width": 1.5}
    if shape == "circle":
        return el("circle", cx=x, cy=y, r=radius, **common)
    if shape == "ring":
        return el(
            "circle",
            cx=x,
            cy=y,
            r=radius - 0.5,
            class_=f"ring stroke-{tone}",
            fill=TONES["paper"],
            stroke=TONES[tone],
            stroke_width=2,
        )
    if shape == "square":
        side = radius * 0.9
        return el("rect", x=x - side, y=y - side, width=2 * side, height=2 * side, **common)
    if shape == "triangle":
        return polygon(
            [(x, y - radius * 1.1), (x + radius, y + radius * 0.8), (x - radius, y + radius * 0.8)], **common
        )
    if shape == "cross":
        arm = radius * 0.8
        path = f"M{fixed(x - arm)} {fixed(y - arm)}L{fixed(x + arm)} {fixed(y + arm)}"
        path += f"M{fixed(x - arm)} {fixed(y + arm)}L{fixed(x + arm)} {fixed(y - arm)}"
        return el("path", d=path, class_=f"stroke-{tone}", stroke=TONES[tone], stroke_width=2)
    reach = radius * 1.2
    return polygon([(x, y - reach), (x + reach, y), (x, y + reach), (x - reach, y)], **common)


def polygon(corners: list[tuple[float, float]], **attributes: str | float) -> Markup:
    """A closed shape."""
    return el("polygon", points=" ".join(f"{fixed(x)},{fixed(y)}" for x, y in corners), **attributes)


def polyline(corners: list[tuple[float, float]], *, tone: str, **attributes: str | float) -> Markup:
    """An open line through points."""
    return el(
        "polyline",
        points=" ".join(f"{fixed(x)},{fixed(y)}" for x, y in corners),
        fill="none",
        class_=f"stroke-{tone}",
        stroke=TONES[tone],
        **attributes,
    )
