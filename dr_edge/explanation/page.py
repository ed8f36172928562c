"""The index page of an explanation directory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from dr_edge import runs
from dr_edge.drawing import html, overlay
from dr_edge.drawing.overlay import Caption
from dr_edge.explanation import heatmaps
from dr_edge.explanation.pictures import Rejected
from dr_edge.runs import TrainedRun

TEMPLATE = "index.html.j2"


@dataclasses.dataclass
class Part:
    """One answer to one image: (file, what it shows) of each picture, one per method, what the model said, and whether
    the heat map is shown; where it is not, there is one file, with the photograph.
    """

    files: list[tuple[str, str]]
    caption: Caption | None = None
    is_shown: bool = True


@dataclasses.dataclass
class Row:
    """One image on the page: its name and its answers, one, or for multilabel one per disease."""

    name: str
    parts: list[Part]


def render(
    run: TrainedRun, images: str, methods: Sequence[str], rows: Sequence[Row], rejected: Sequence[Rejected]
) -> str:
    """Returns the page as HTML; it refers to the PNGs beside it and to nothing else.

    Each PNG holds photograph, overlay and words, to be passed on alone; the page cuts the parts out of it that it
    needs, so that photograph and answer stand there once.
    """
    right = [part.caption.correct for row in rows for part in row.parts if part.caption is not None]
    return (
        html.environment(Path(__file__).parent)
        .get_template(TEMPLATE)
        .render(
            run=run,
            source=images,
            side=overlay.PANEL,
            margin=overlay.MARGIN,
            width=overlay.panel_width(run.task.kind != "segmentation"),
            methods=[heatmaps.TITLES.get(method, method) for method in methods],
            rows=rows,
            rejected=rejected,
            verdict=runs.verdict_of(run),
            hidden=sum(not part.is_shown for row in rows for part in row.parts),
            right=sum(one is True for one in right),
            judged=sum(one is not None for one in right),
        )
    )
