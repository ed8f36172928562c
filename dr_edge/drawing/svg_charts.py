"""Charts as inline SVG whose colours are CSS variables, so that one report serves light, dark and print.

Every function returns markup that is safe to insert: words are escaped, numbers are formatted here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape

SIDE, LEFT, BOTTOM, TOP, RIGHT = 300, 46, 42, 12, 14
AXIS_LETTERS = 44  # of an axis' name that have room
BALANCE_LETTERS = 6  # of a name that has room before its bar
SERIES = ("var(--s1)", "var(--s2)", "var(--s3)", "var(--s4)", "var(--s5)", "var(--s6)")


@dataclasses.dataclass(frozen=True)
class Curve:
    """One line of a chart in 0..1: its name, and [n] x and y."""

    name: str
    x: np.ndarray
    y: np.ndarray


@dataclasses.dataclass(frozen=True)
class Dot:
    """One marked point of a chart in 0..1."""

    name: str
    x: float
    y: float


def roc(curves: Sequence[Curve], band: tuple[np.ndarray, np.ndarray, np.ndarray] | None, dots: Sequence[Dot]) -> Markup:
    """Draws ROC curves.

    Args:
      curves: x is 1 - specificity, y is sensitivity.
      band: x, low and high of the bootstrap band, or None.
      dots: operating points; their names show as tooltips.
    """
    parts = [_line([0, 1], [0, 1], "chance")]
    if band is not None:
        x, low, high = band
        parts.append(_polygon(np.concatenate([x, x[::-1]]), np.concatenate([high, low[::-1]]), "band"))
    for number, curve in enumerate(curves):
        parts.append(_line(curve.x, curve.y, "curve", SERIES[number % len(SERIES)], curve.name))
    parts += [
        _dot(dot.x, dot.y, 5.0, "point", f"{dot.name}: sensitivity {dot.y:.2f}, specificity {1 - dot.x:.2f}")
        for dot in dots
    ]
    label = "ROC curve: sensitivity against 1 minus specificity. " + "; ".join(curve.name for curve in curves)
    return _frame(parts, "1 − specificity", "sensitivity", label)


def reliability(groups: Sequence[tuple[str, np.ndarray, np.ndarray, np.ndarray]]) -> Markup:
    """Draws a reliability diagram.

    Args:
      groups: (name, confidence [K], share right [K], images [K]) per series; bins without images left out.
    """
    parts = [_line([0, 1], [0, 1], "chance")]
    for number, (name, confidence, right, images) in enumerate(groups):
        parts.append(_line(confidence, right, "curve thin", SERIES[number], name))
        largest = max(images.max(), 1)
        for x, y, count in zip(confidence, right, images, strict=True):
            title = f"{name}: said {x:.2f}, was right {y:.2f} ({count} images)"
            parts.append(_dot(x, y, 2.5 + 5.5 * (count / largest) ** 0.5, "bin", title, SERIES[number]))
    return _frame(parts, "confidence of the answer", "share that was right", "Reliability diagram")


def histogram(edges: np.ndarray, counts: Sequence[tuple[str, np.ndarray]], axis: str) -> Markup:
    """Draws stacked bars over 0..1.

    Args:
      edges: [K + 1] in 0..1.
      counts: (name, [K] images) per class, stacked in this order.
      axis: name of the x axis.
    """
    top = 5.0 * max(np.ceil(np.sum([values for _, values in counts], axis=0).max() / 5), 1)  # whole ticks
    below = np.zeros(len(edges) - 1)
    parts: list[Markup] = []
    for number, (name, values) in enumerate(counts):
        for index, count in enumerate(values):
            if count:
                x, width = _x(edges[index]) + 0.8, (edges[index + 1] - edges[index]) * SIDE - 1.6
                y, height = _y((below[index] + count) / top), count / top * SIDE
                parts.append(
                    Markup(
                        '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="{}"><title>{}</title></rect>'
                    ).format(x, y, width, height, SERIES[number % len(SERIES)], f"{name}: {int(count)} images")
                )
        below = below + values
    return _frame(parts, axis, "images", f"Histogram of {axis}", y_top=top)


def scatter(
    x: np.ndarray,
    y: np.ndarray,
    axes: tuple[str, str],
    lines: Sequence[tuple[str, float]] | None,
    span: tuple[float, float, float, float],
) -> Markup:
    """Draws points, and either the diagonal (lines None) or horizontal lines.

    Args:
      x, y: [N].
      axes: names of both axes.
      lines: (name, y) of horizontal lines (Bland-Altman), or None for the diagonal.
      span: x from, x to, y from, y to; points outside are drawn at the edge.
    """
    x_low, x_high, y_low, y_high = span

    def to_unit(values: np.ndarray, low: float, high: float) -> np.ndarray:
        return np.clip((np.asarray(values, dtype=np.float64) - low) / (high - low), 0, 1)

    parts = []
    if lines is None:
        parts.append(_line([0, 1], [0, 1], "chance"))
    for name, value in lines or ():
        height = float(to_unit(np.array(value), y_low, y_high))
        parts.append(_line([0, 1], [height, height], "chance", title=f"{name}: {value:.3f}"))
        parts.append(
            Markup('<text class="tick" text-anchor="end" x="{:.1f}" y="{:.1f}">{}</text>').format(
                _x(1) - 4, _y(height) - 4, f"{name} {value:+.3f}"
            )
        )
    for a, b, at, to in zip(to_unit(x, x_low, x_high), to_unit(y, y_low, y_high), x, y, strict=True):
        parts.append(_dot(a, b, 3.2, "mark", f"{at:.3f}, {to:.3f}"))
    return _frame(parts, axes[0], axes[1], f"{axes[1]} against {axes[0]}", (x_low, x_high), (y_low, y_high))


def balance(rows: Sequence[tuple[str, Sequence[int]]], names: Sequence[str]) -> Markup:
    """Draws one horizontal bar per row, divided by class; a name too long to stand before its bar stands above it.

    Args:
      rows: (split, or split and disease; images per class).
      names: class names, in the order of the numbers.
    """
    above = max((len(split) for split, _ in rows), default=0) > BALANCE_LETTERS
    height, gap, width, label = 26, 12, 520, 0 if above else 52
    title_height = 20 if above else 0
    parts = []
    for row, (split, counts) in enumerate(rows):
        top = row * (title_height + height + gap)
        y, x, total = top + title_height, float(label), max(sum(counts), 1)
        parts.append(Markup('<text class="axis" x="0" y="{}">{}</text>').format(top + 13 if above else y + 18, split))
        for number, count in enumerate(counts):
            part = (width - label) * count / total
            title = f"{split}: {count} {names[number]} ({100 * count / total:.0f} %)"
            parts.append(
                Markup('<rect x="{:.1f}" y="{}" width="{:.1f}" height="{}" fill="{}"><title>{}</title></rect>').format(
                    x, y, max(part - 1, 0), height, SERIES[number % len(SERIES)], title
                )
            )
            if part > 9 * len(str(count)) + 6:
                parts.append(Markup('<text class="on" x="{:.1f}" y="{}">{}</text>').format(x + 7, y + 18, count))
            x += part
    total_height = len(rows) * (title_height + height + gap) - gap
    return Markup(
        '<svg class="wide" viewBox="0 0 {} {}" role="img" aria-label="Images per class and split">{}</svg>'
    ).format(width, total_height, Markup("").join(parts))


def shortened(name: str) -> str:
    """Returns the name of an axis, of at most AXIS_LETTERS: a longer one loses its middle."""
    if len(name) <= AXIS_LETTERS:
        return name
    return f"{name[: AXIS_LETTERS // 2 - 1]}…{name[-AXIS_LETTERS // 2 :]}"


def _x(value: float) -> float:
    return LEFT + float(value) * SIDE


def _y(value: float) -> float:
    return TOP + (1 - float(value)) * SIDE


def _path(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> str:
    return " ".join(f"{_x(a):.1f},{_y(b):.1f}" for a, b in zip(x, y, strict=True))


def _line(
    x: Sequence[float] | np.ndarray,
    y: Sequence[float] | np.ndarray,
    css: str,
    colour: str = "",
    title: str = "",
) -> Markup:
    stroke = Markup(' style="stroke:{}"').format(colour) if colour else Markup("")
    return Markup('<polyline class="{}" points="{}"{}><title>{}</title></polyline>').format(
        css, _path(x, y), stroke, title
    )


def _polygon(x: np.ndarray, y: np.ndarray, css: str) -> Markup:
    return Markup('<polygon class="{}" points="{}"/>').format(css, _path(x, y))


def _dot(x: float, y: float, radius: float, css: str, title: str, colour: str = "") -> Markup:
    fill = Markup(' style="fill:{}"').format(colour) if colour else Markup("")
    return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"{}><title>{}</title></circle>').format(
        css, _x(x), _y(y), radius, fill, title
    )


def _frame(
    parts: Sequence[Markup],
    x_name: str,
    y_name: str,
    label: str,
    x_span: tuple[float, float] = (0.0, 1.0),
    y_span: tuple[float, float] = (0.0, 1.0),
    y_top: float | None = None,
) -> Markup:
    """Puts grid, ticks and axis names around the parts; `y_top` relabels the y axis as counts."""
    x_name, y_name = shortened(x_name), shortened(y_name)
    y_span = (0.0, y_top) if y_top is not None else y_span
    out = []
    for step in range(6):
        at = step / 5
        out.append(
            Markup('<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}"/>').format(
                _x(at), _y(0), _y(1)
            )
        )
        out.append(
            Markup('<line class="grid" x1="{0:.1f}" x2="{1:.1f}" y1="{2:.1f}" y2="{2:.1f}"/>').format(
                _x(0), _x(1), _y(at)
            )
        )
        x_text, y_text = (_tick(low + at * (high - low), high - low) for low, high in (x_span, y_span))
        out.append(
            Markup('<text class="tick" text-anchor="middle" x="{:.1f}" y="{:.1f}">{}</text>').format(
                _x(at), _y(0) + 15, x_text
            )
        )
        out.append(
            Markup('<text class="tick" text-anchor="end" x="{:.1f}" y="{:.1f}">{}</text>').format(
                _x(0) - 6, _y(at) + 4, y_text
            )
        )
    middle = _y(0.5)
    out.append(
        Markup('<text class="axis" text-anchor="middle" x="{:.1f}" y="{:.1f}">{}</text>').format(
            _x(0.5), _y(0) + 34, x_name
        )
    )
    out.append(
        Markup(
            '<text class="axis" text-anchor="middle" x="12" y="{0:.1f}" transform="rotate(-90 12 {0:.1f})">{1}</text>'
        ).format(middle, y_name)
    )
    width, height = LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        width, height, escape(label), Markup("").join([*out, *parts])
    )


def _tick(value: float, span: float) -> str:
    return f"{value:.1f}" if span <= 2 else f"{value:.0f}"
