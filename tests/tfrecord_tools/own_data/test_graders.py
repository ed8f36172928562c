"""Two columns of one question that differ are said; others are not."""

from __future__ import annotations

from pathlib import Path

import pytest


def differing(listed, root: Path, one: str, other: str, *answers: tuple[str, str], **flags) -> list[str]:
    names = tuple(f"{index}.png" for index in range(len(answers)))
    rows = "".join(f"{name},{a},{b}\n" for name, (a, b) in zip(names, answers, strict=True))
    notes = listed(root, f"image,{one},{other}\n{rows}", names, **({"label_columns": [one]} | flags)).notes
    return [note for note in notes if "seem to ask the same" in note]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("grader1", "grader2"), ("DR_1", "DR_2"), ("DR grade A", "DR grade B"), ("level", "adjudicated level"),
        ("reader_1_glaucoma", "reader_2_glaucoma"), ("Befunder 1", "Befunder 2"), ("dr", "DR final"),
        ("Glaukom Arzt", "Glaukom Konsens"), ("gradeA", "gradeB"), ("1st reader", "2nd reader"),
    ],
)  # fmt: skip
def test_two_graders_that_differ_are_said(tmp_path: Path, listed, one: str, other: str):
    (said,) = differing(listed, tmp_path, one, other, ("0", "0"), ("1", "0"), ("1", "1"), ("1", ""))
    assert (
        f"{one} and {other} seem to ask the same, and differ in 1 of 3 rows (the first is t.csv, row 3: '1' and '0'). "
        f"{one} was read." in said
    )
    both = differing(listed, tmp_path, one, other, ("0", "0"), ("1", "0"), label_columns=[one, other])
    assert len(both) == 1 and "Both were read" in both[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("DR", "glaucoma"),
        ("D", "G"),
        ("dr_left", "dr_right"),
        ("dr_l", "dr_r"),
        ("DR OD", "DR OS"),
        ("dr_grade", "dme_grade"),
        ("level", "age"),
    ],
)
def test_two_questions_are_no_contradiction(tmp_path: Path, listed, one: str, other: str):
    assert not differing(listed, tmp_path, one, other, ("0", "0"), ("1", "0"), ("1", "1"))


def test_graders_that_agree_or_answer_otherwise_are_not_said(tmp_path: Path, listed):
    assert not differing(listed, tmp_path, "grader1", "grader2", ("0", "0.0"), ("1", "1"), ("1", ""))
    assert not differing(listed, tmp_path, "DR 1", "DR 2", ("no DR", "0"), ("moderate NPDR", "2"))
    assert not differing(listed, tmp_path, "DR 1", "DR 2", ("0", "blurred"), ("1", "fine"))
