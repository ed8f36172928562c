"""Class names and names of data sets that would be Markdown, HTML or YAML: the card has the structure of any other."""

from __future__ import annotations

import dataclasses
import json

import huggingface_hub
import pytest
from markdown_it import MarkdownIt

from dr_edge import metadata, runs
from dr_edge.calibration import store
from export.bundle.front_matter import front_matter
from export.bundle.model_card import model_card
from export.settings import Settings

NAMES = [
    ("a|b", "<script>alert(1)</script>"),
    ("[free](https://x.org)", "![](https://x.org/p.png)"),
    ("healthy\n\n# Approved for diagnosis", "sick\n---\nlicense: mit"),
    ("`", "**"),
    ("x | y |\n|---|---|\n| 1", "</td></table>"),
]


def structure(text: str) -> list[str]:
    """Returns the kinds of what a parser finds, blocks and their inline parts, but where a text is cut."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        found += [token.type, *(child.type for child in token.children or [] if not child.type.startswith("text"))]
    return found


@pytest.fixture
def card(exported, run_dir):
    """card(names, data set): the model card and the front matter of the exported run, its classes so called."""
    stored, content = (metadata.read_manifest(exported[0], kind) for kind in ("parity", "bundle"))
    run = runs.load_run(run_dir)
    fit = store.fit_of(run, run.records)

    def write(names: tuple[str, str], dataset: str) -> tuple[str, str]:
        report, training = (json.loads(json.dumps(part)) for part in (stored, content["training"]))
        training["dataset"] = dataset
        training["classes"] = {
            split: dict(zip(names, counts.values(), strict=True)) for split, counts in training["classes"].items()
        }
        row = report["keras"].get("per_class", {})
        report["keras"]["per_class"] = dict(zip(names, row.values(), strict=True))
        report["verdict"]["text"] = f"Better than guessing at {names[1]}."
        report["calibration_caution"] = f"Few of {names[0]}."
        renamed = dataclasses.replace(run, task=dataclasses.replace(run.task, name=names[0], class_names=names))
        return (
            model_card(renamed, fit, report, training),
            front_matter(renamed, report, training, Settings()),
        )

    return write


@pytest.mark.parametrize("names", NAMES)
def test_a_model_card_keeps_its_structure(names, card):
    plain, _ = card(("healthy", "sick"), "clinic")
    strange, head = card(names, names[0])
    assert structure(strange) == structure(plain)
    assert "<script" not in strange and "://" not in strange
    parsed = huggingface_hub.ModelCard(head + strange)
    assert parsed.data.license == "unknown" and parsed.data.training_data["name"] == names[0]
    assert parsed.data.model_name.endswith(f", {names[0]}")
    assert parsed.text.lstrip().startswith("# Model card: ")
