"""A chart of shares as inline SVG: one bar per row, from 0 to 100 %, in parts."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from dr_edge.drawing.svg_charts import SERIES

WIDTH, LABEL, RIGHT, ROW, BAR = 460, 150, 52, 21, 14
_TOP, _BOTTOM = 6, 40


def shares(rows: Sequence[tuple[str, Sequence[int], int]], names: Sequence[str], axis: str) -> Markup:
    """Draws parts of a whole, row by row; what is left of a row stays empty.

    Args:
      rows: (label, counts of the parts, count of the whole).
      names: of the parts, in their order; they show as tooltips.
      axis: name of the axis.
    """
    height = _TOP + ROW * len(rows) + _BOTTOM
    foot = _TOP + ROW * len(rows)
    out = []
    for percent in range(0, 101, 20):
        x = _x(percent / 100)
        line = Markup('<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>')
        out += [line.format(x, _TOP, foot), _text(x, foot + 15, str(percent), "tick", "middle")]
    for index, (label, parts, whole) in enumerate(rows):
        y = _TOP + ROW * index
        out.append(_text(LABEL - 8, y + 14, label, "axis", "end"))
        start = 0
        for number, count in enumerate(parts):
            if count:
                title = f"{label}: {count} of {whole} {names[number]}"
                bar = Markup('<rect x="{:.1f}" y="{}" width="{:.1f}" height="{}" fill="{}"><title>{}</title></rect>')
                left, right = _x(start / whole), _x((start + count) / whole)
                out.append(bar.format(left, y + 3, max(right - left - 1, 1), BAR, SERIES[number % len(SERIES)], title))
            start += count
        if sum(parts):
            out.append(_text(_x(sum(parts) / whole) + 5, y + 15, _counts(parts), "tick", "start"))
    out.append(_text((LABEL + WIDTH - RIGHT) / 2, height - 6, axis, "axis", "middle"))
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, escape(f"{' and '.join(names)}, {axis}"), Markup("").join(out)
    )


def _counts(parts: Sequence[int]) -> str:
    return " + ".join(str(count) for count in parts)


def _x(share: float) -> float:
    return LABEL + share * (WIDTH - LABEL - RIGHT)


def _text(x: float, y: float, text: str, css: str, anchor: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(css, x, y, anchor, text)
