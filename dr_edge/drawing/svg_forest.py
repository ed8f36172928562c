"""Two charts of the parity page as inline SVG, in the colours of the evaluation reports."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH, LABEL, ROW = 460, 150, 25
CHARACTER = 7.2  # width of one at the font size of labels, rather wide than narrow
MOST_CHARACTERS = 38


def forest(rows: Sequence[tuple[str, float, Sequence[float] | None]], name: str, limit: float | None) -> Markup:
    """Draws one value per row with its interval.

    Args:
      rows: (label, value, [low, high] or None).
      name: of the axis.
      limit: a threshold to mark, or None.
    """
    values = [value for _, value, bounds in rows for value in (value, *(bounds or ()))]
    reach = 1.15 * max(0.005, *(abs(value) for value in values), abs(limit or 0.0))

    def x(value: float) -> float:
        return LABEL + (WIDTH - LABEL - 20) * (value + reach) / (2 * reach)

    height = ROW * len(rows) + 46
    parts = [_vertical(x(0), height - 40, "grid"), _text(x(0), height - 24, "0", "tick", "middle")]
    for edge in (-reach / 1.15, reach / 1.15):
        parts += [
            _vertical(x(edge), height - 40, "grid"),
            _text(x(edge), height - 24, f"{edge:+.3f}", "tick", "middle"),
        ]
    if limit is not None:
        parts += [_vertical(x(limit), height - 40, "chance")]
    for index, (label, value, bounds) in enumerate(rows):
        y = ROW * index + 18
        parts.append(_text(0, y + 4, label, "axis", "start"))
        if bounds is not None:
            line = Markup('<line x1="{:.1f}" x2="{:.1f}" y1="{y}" y2="{y}" style="stroke:var(--s1);stroke-width:2"/>')
            parts.append(line.format(x(bounds[0]), x(bounds[1]), y=y))
        dot = Markup('<circle cx="{:.1f}" cy="{}" r="4.5" style="fill:var(--s1)"><title>{}</title></circle>')
        parts.append(dot.format(x(value), y, f"{label}: {value:+.4f}"))
    parts.append(_text((LABEL + WIDTH) / 2, height - 6, name, "axis", "middle"))
    return _svg(parts, height, name)


def bars(rows: Sequence[tuple[str, float]], name: str) -> Markup:
    """Draws one horizontal bar per row.

    Args:
      rows: (label, value >= 0).
      name: of the axis.
    """
    longest = max(1e-9, *(value for _, value in rows))
    height = ROW * len(rows) + 26
    shown = [shortened(label) for label, _ in rows]
    start = max(40.0, *(CHARACTER * len(label) for label in shown)) + 10
    parts = []
    for index, (label, value) in enumerate(rows):
        y = ROW * index + 4
        width = max(0.0, (WIDTH - start - 40) * value / longest)
        parts.append(_text(0, y + 14, shown[index], "axis", "start", label))
        bar = Markup('<rect x="{:.1f}" y="{}" width="{:.1f}" height="16" rx="3" style="fill:var(--s1)"/>')
        parts.append(bar.format(start, y, width))
        parts.append(_text(start + width + 6, y + 13, f"{value:.1f}", "tick", "start"))
    parts.append(_text((start + WIDTH) / 2, height - 4, name, "axis", "middle"))
    return _svg(parts, height, name)


def shortened(label: str) -> str:
    """Returns a label of at most MOST_CHARACTERS: a longer one keeps its end, where layers differ, and a start."""
    if len(label) <= MOST_CHARACTERS:
        return label
    tail = 2 * MOST_CHARACTERS // 3
    return f"{label[: MOST_CHARACTERS - tail - 1]}…{label[-tail:]}"


def _vertical(x: float, height: float, css: str) -> Markup:
    return Markup('<line class="{}" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{}"/>').format(css, height, x=x)


def _text(x: float, y: float, text: str, css: str, anchor: str, whole: str = "") -> Markup:
    """Returns a text; `whole` is shown where the mouse rests on it, if it differs."""
    title = Markup("<title>{}</title>").format(whole) if whole not in ("", text) else ""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}{}</text>').format(
        css, x, y, anchor, title, text
    )


def _svg(parts: Sequence[Markup], height: float, label: str) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, escape(label), Markup("").join(parts)
    )
