"""Grades of DR in words and numbers: one reader for the cells of a column, folders, and the names in records."""

from __future__ import annotations

import pytest

from dr_edge.data.grades import grade_in_words, grade_of

WORDS = {
    "No DR": 0, "No_DR": 0, "NoDR": 0, "nodr": 0, "no apparent retinopathy": 0, "healthy": 0, "no findings": 0,
    "1_NoDR": 0,
    "Mild": 1, "Mild NPDR": 1, "mild eyes": 1, "1_mild": 1, "Moderate non-proliferative DR": 2, "moderate NPDR": 2,
    "Severe nonproliferative retinopathy": 3, "Proliferate_DR": 4, "PDR": 4, "proliferative diabetic retinopathy": 4,
}  # fmt: skip


def test_words_state_a_grade():
    assert {word: grade_in_words(word) for word in WORDS} == WORDS
    assert {word: grade_of(word) for word in WORDS} == WORDS


@pytest.mark.parametrize(
    "name",
    [
        "NPDR", "DR", "referable", "non-referable", "glaucoma", "diabetic retinopathy", "no cataract", "no severe NPDR",
        "non-proliferative DR", "mild to moderate", "mild glaucoma", "ungradable", "",
    ],
)  # fmt: skip
def test_what_states_no_grade(name):
    assert grade_in_words(name) is None and grade_of(name) is None


def test_numbers_are_of_names_only():
    assert [grade_of(name) for name in ("2", "grade 2", "2 moderate", "mild npdr (1)", "7")] == [2, 2, 2, 1, 7]
    assert grade_in_words("2") is None
