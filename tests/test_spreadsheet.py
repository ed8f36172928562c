"""No cell of our CSV is a formula to a spreadsheet, and every reader of ours gets the text back."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import re
from pathlib import Path

import pytest

from dr_edge import spreadsheet

REPOSITORY = Path(__file__).resolve().parents[1]
RUN = "=+-@\t\r＝＋－＠"  # a cell that begins so is run, or swallowed
STRANGE = [
    '=HYPERLINK("http://x","y")', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1+1", "a;=cmd|' /C calc'!A0", "a\n@b",
    "'=1", "''-x", "-", "+", "--overlay", "-inf",
]  # fmt: skip
PLAIN = [
    "",
    "-0.5",
    "+3",
    "-1e-05",
    ".5",
    "7",
    "a-b",
    "a=b",
    "it's",
    "'",
    "'quoted'",
    "x, =1",
    "Müller 眼",
    "a;b",
    "a\nb",
]


@pytest.mark.parametrize("text", STRANGE)
def test_what_a_spreadsheet_would_run_is_text_and_is_read_back(text, tmp_path):
    (cell,) = next(csv.reader(io.StringIO(spreadsheet.to_csv([text], []), newline="")))
    assert cell != text and cell.replace("'", "") == text.replace("'", "")
    assert not any(part[:1] and part[0] in RUN for part in re.split(r"[;\n]", cell)), cell
    (tmp_path / "a.csv").write_text(spreadsheet.to_csv([text, "b"], [[text, 1]]), encoding="utf-8", newline="")
    assert spreadsheet.read(tmp_path / "a.csv") == [{text: text, "b": "1"}]


@pytest.mark.parametrize("text", PLAIN)
def test_numbers_and_other_text_are_written_as_they_are(text):
    assert spreadsheet.guarded(text) == text == spreadsheet.original(text)


def test_no_two_texts_become_one_cell():
    texts = ["".join(signs) for length in range(6) for signs in itertools.product("=-'\t;5", repeat=length)]
    cells = [spreadsheet.guarded(text) for text in texts]
    assert len(set(cells)) == len(texts) > 9000
    assert [spreadsheet.original(cell) for cell in cells] == texts


def test_unknown_values_and_numbers_of_python(tmp_path):
    text = spreadsheet.to_csv(["a", "b", "c"], [[None, -3, -0.25]])
    assert text == "a,b,c\n,-3,-0.25\n"


def test_tables_of_earlier_releases_are_read_as_they_stand(tmp_path):
    (tmp_path / "old.csv").write_text("id,patient\n=x.png,-7a\n")
    assert spreadsheet.read(tmp_path / "old.csv") == [{"id": "=x.png", "patient": "-7a"}]


def test_there_is_one_writer():
    """A table that is written past it would hold formulas."""
    paths = [
        path
        for top in ("dr_edge", "tfrecord_tools", "export", "android_bench")
        for path in REPOSITORY.glob(f"{top}/**/*.py")
    ]
    assert len(paths) > 300
    writers = [path.name for path in paths if re.search(r"csv\.(Dict)?[wW]riter", path.read_text())]
    assert writers == ["spreadsheet.py"]


def test_names_join_in_the_tables_of_an_evaluation(tmp_path):
    import numpy as np

    from dr_edge.data import tasks
    from dr_edge.evaluation import predictions
    from dr_edge.evaluation.predictions import Predictions

    names = ("=absent", "@present")
    task = dataclasses.replace(tasks.referable_dr(), class_names=names)
    ids = np.array(["=1.png", "'=1.png", "-0.5", "a;=b", "eye.png"])
    table = Predictions(
        ids=ids, patients=np.array(["-7", "--7", "@p", "+p", "p"]), laterality=np.array([""] * 5),
        labels=np.array([0, 1, 0, 1, 0]), logits=np.zeros((5, 2)), probabilities=np.full((5, 2), 0.5),
        quality=np.ones(5), source_size=np.full((5, 2), 64),
    )  # fmt: skip
    (tmp_path / predictions.CSV_FILE).write_text(predictions.to_csv(table, task))
    read = predictions.from_csv(tmp_path, task)
    assert read.ids.tolist() == ids.tolist() and read.patients.tolist() == table.patients.tolist()
    assert read.labels.tolist() == table.labels.tolist()
    assert "\n'=1.png,-7,'=absent," in (tmp_path / predictions.CSV_FILE).read_text()
