"""Class names that are HTML, a formula and Markdown: the report shows them, and the tables are read back."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from dr_edge.data import tasks
from dr_edge.evaluation import flow, predictions
from dr_edge.explanation import flow as explanation

NAMES = ("=HYPERLINK(1)", "<img src=x onerror=alert(1)>\"'&amp;|`")


class Page(HTMLParser):
    """Collects tags with their attributes, and the text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def check(path: Path) -> None:
    page = Page(path)
    assert not [(tag, names) for tag, names in page.tags if "onerror" in names or names.get("src") == "x"]
    assert NAMES[1] in " ".join(page.text.split()), "the page does not show the class"


def test_an_evaluation_and_its_heat_maps(stand_in_records, write_run, make_model, tmp_path):
    task = dataclasses.replace(tasks.referable_dr(), class_names=NAMES)
    run = write_run(tmp_path / "run", task, make_model(2))
    flow.evaluate(run, flow.Settings(examples=4, heatmap_checks=False))
    place = run / "evaluation" / "test"
    check(place / "report.html")
    text = (place / "predictions.csv").read_text()
    assert "'=HYPERLINK(1)" in text and ",=HYPERLINK(1)" not in text
    read = predictions.from_csv(place, task)
    assert set(np.unique(read.labels)) == {0, 1} and len(read) == 36
    explanation.explain(run, str(stand_in_records), ("gradcam",), run / "heatmaps", limit=2)
    check(run / "heatmaps" / "index.html")
