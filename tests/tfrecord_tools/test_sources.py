"""One table says where each data set is had: --help, docs/datasets.md, the README and dataset.json are made of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tfrecord_tools import sources
from tfrecord_tools.catalogue import DATASETS, list_dataset
from tfrecord_tools.items import Request
from tfrecord_tools.sources import SOURCES

REPOSITORY = Path(__file__).resolve().parents[2]


def test_every_data_set_has_its_row():
    assert set(SOURCES) == set(DATASETS)
    for source in SOURCES.values():
        cells = (source.title, source.address, source.terms, source.layout, source.labels, source.split)
        assert all(cells) and not any("|" in cell or "\n" in cell for cell in (*cells, source.size))


@pytest.mark.parametrize(
    ("path", "text"), [("docs/datasets.md", sources.markdown_table()), ("README.md", sources.readme_list())]
)
def test_the_documents_say_the_same(path, text):
    assert text in (REPOSITORY / path).read_text(encoding="utf-8"), f"Paste this into {path}:\n\n{text}"


def test_help_shows_the_table_at_once(starts):
    """Neither TensorFlow nor numpy is needed for it."""
    found = []

    def call():
        command = [sys.executable, "-m", "tfrecord_tools.build", "--help"]
        found.append(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=REPOSITORY))

    assert starts(call) < 40
    assert sources.help_text() in found[0].stdout
    for name, source in SOURCES.items():
        assert f"\n  {name} " in found[0].stdout and source.terms.split()[0] in found[0].stdout


def test_dataset_json_repeats_it(tmp_path):
    (tmp_path / "train_images").mkdir()
    for name in ("a", "b"):
        (tmp_path / "train_images" / f"{name}.png").write_bytes(b"")
    (tmp_path / "train.csv").write_text("id_code,diagnosis\na,0\nb,2\n")
    listing = list_dataset("aptos", Request(tmp_path))
    assert listing.source == {
        "title": "APTOS 2019 Blindness Detection",
        "address": "https://www.kaggle.com/c/aptos2019-blindness-detection",
        "licence": "Kaggle competition rules",
    }
    assert list_dataset("synthetic", Request(None, limit=4)).source == SOURCES["synthetic"].stated()
