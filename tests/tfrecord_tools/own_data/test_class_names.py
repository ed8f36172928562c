"""Label sets taken as they come: one class in several spellings, gaps in numbers, grades in words."""

from __future__ import annotations

import pytest

from dr_edge.data.tasks import GRADE_NAMES
from tfrecord_tools.items import DatasetError
from tfrecord_tools.own_data.class_names import check_spellings, is_icdr, plain, read_classes, whole_number

WHERE = "t.csv, column stage"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("healthy", "Healthy"), ("No DR", "no dr"), ("No DR", "no_dr"), ("No DR", "No-DR"), ("no dr", "no  dr"),
        ("nodr", "no dr"), ("no dr ", "no dr"), ("caf\u00e9", "cafe\u0301"),
        ("\uff2e\uff2f\u3000\uff24\uff32", "NO DR"), ("sick", "si\u00adck"), ("no\u2010dr", "no-dr"),
        ("STRASSE", "stra\u00dfe"), ("no.dr", "no_dr"), ("sick", "sick_"), ("sick", "\u200bsick"),
        ("normal", "n\u043ermal"), ("\u0410\u041c\u0414", "A\u041c\u0414"),
    ],
)  # fmt: skip
def test_two_spellings_of_one_class_are_refused_with_their_counts(one: str, other: str):
    with pytest.raises(
        DatasetError,
        match=(
            r"several spellings: .* \(3 photographs\).* and .*\(1 photograph\)|several spellings: .* \(1 photograph\).*"
            r" and .*\(3 photographs\)"
        ),
    ):
        read_classes([one] * 3 + [other, "PDR"], "stage", WHERE)


@pytest.mark.parametrize(
    "names",
    [
        "no|n|yes|y",
        "Yes|no|NO|N",
        "pos|positive|neg",
        "ja|nein|n",
        "s\u00ed|si|no",
        "true|t|false",
        "yes|present|absent",
    ],
)
def test_two_words_for_one_answer_are_refused(names: str):
    with pytest.raises(DatasetError, match="several spellings"):
        read_classes(names.split("|"), "stage", WHERE)


@pytest.mark.parametrize(
    "names", ["yes|no", "n|y", "positive|negative|suspect", "f|n|o|s|t", "N|D|G|C|A|H|M|O", "none|mild"]
)
def test_other_words_and_letters_are_classes_of_their_own(names: str):
    assert len(read_classes(names.split("|"), "stage", WHERE)[0]) == len(names.split("|"))


def test_signs_that_mean_something_stay():
    for one, other in (
        ("DR+", "DR-"),
        ("glaucoma", "glaucoma-"),
        ("grade 1", "grade 2"),
        ("normal", "abnormal"),
        ("NPDR", "PDR"),
        ("type 1.5", "type 15 b"),
    ):
        assert plain(one) != plain(other)
        assert len(read_classes([one, other], "stage", WHERE)[0]) == 2


def test_several_findings_in_one_cell_are_said():
    for both in ("glaucoma, cataract", "cataract;glaucoma", "glaucoma + AMD", "Glaucoma and cataract", "AMD/glaucoma"):
        cautions = read_classes(["glaucoma", both, "normal"], "disease", WHERE)[2]
        assert len(cautions) == 1 and f"{both!r} (1 photograph)" in cautions[0] and "tasks.diseases" in cautions[0]
    for names in (["wet AMD", "dry AMD", "normal"], ["DR/DME", "normal"], ["sand", "s", "normal"], ["0/1", "1/2"]):
        assert not read_classes(names, "disease", WHERE)[2]


def test_a_slip_of_the_pen_is_said():
    cautions = check_spellings({"severe": 20, "sever": 1, "mild": 20}, WHERE)
    assert len(cautions) == 1 and "'sever' (1 photograph) is a class beside 'severe' (20)" in cautions[0]
    assert not check_spellings({"grade 1": 20, "grade 2": 1}, WHERE)


def test_numbers_as_spreadsheets_write_them():
    assert [whole_number(value) for value in ("1", "01", "1.0", "1,0", "\uff11", "1.5", "-1", "x", "")] == [
        1,
        1,
        1,
        1,
        1,
        None,
        None,
        None,
        None,
    ]
    classes, index, cautions = read_classes(["0", "1.0", "01", "2,0", ""], "stage", WHERE)
    assert classes == ("0", "1", "2") and index == {"0": 0, "1.0": 1, "01": 1, "2,0": 2} and not cautions


@pytest.mark.parametrize(
    "numbers", [(0, 1, 2, 3, 4, 999), (0, 1, 2, 3, 4, 9), (10, 20, 35, 43), (0, 1, 7), (5, 6, 7), (0, 2, 4, 6, 8)]
)
def test_gaps_beyond_reason_are_refused(numbers: tuple[int, ...]):
    with pytest.raises(DatasetError, match=f"{max(numbers)} \\(1\\).* would make {max(numbers) + 1} classes"):
        read_classes([str(number) for number in numbers], "stage", WHERE)


@pytest.mark.parametrize(
    ("numbers", "absent"), [((1, 2), "0"), ((0, 1, 2, 4), "3"), ((0, 4), "1, 2, 3"), ((0, 1, 2, 3, 4, 6), "5")]
)
def test_smaller_gaps_are_said(numbers: tuple[int, ...], absent: str):
    classes, _, cautions = read_classes([str(number) for number in numbers], "stage", WHERE)
    assert len(classes) == max(numbers) + 1 and f"no photograph has {absent};" in cautions[0]


def test_missing_labels_in_words_are_no_class():
    for word in ("NA", "n/a", "nan", "?", "unknown"):
        with pytest.raises(DatasetError, match="A missing label is an empty cell"):
            read_classes(["0", "1", word], "stage", WHERE)


def test_dr_grade_is_the_icdr_scale():
    assert read_classes(["0", "2"], "dr_grade", WHERE)[0] == GRADE_NAMES
    with pytest.raises(DatasetError, match=r"holds 5 \(2 photographs\). dr_grade is the ICDR scale.*empty the cell"):
        read_classes(["0", "1", "5", "5"], "dr_grade", WHERE)
    classes, index, cautions = read_classes(["No DR", "Mild", "PDR"], "dr_grade", WHERE)
    assert classes == GRADE_NAMES and index == {"No DR": 0, "Mild": 1, "PDR": 4} and "'PDR' = 4" in cautions[0]
    assert "counts from 1" in read_classes(["1", "2", "3", "4"], "dr_grade", WHERE)[2][0]
    for cells in (["0", "2"], ["mild", "moderate", "PDR"]):
        assert "counts from 1" not in " ".join(read_classes(cells, "dr_grade", WHERE)[2])
    with pytest.raises(DatasetError, match="'NPDR' .* is no grade"):
        read_classes(["No DR", "NPDR", "PDR"], "dr_grade", WHERE)


def test_folders_of_grades():
    assert is_icdr(("Mild", "Moderate", "No_DR", "Proliferate_DR", "Severe"))
    assert not is_icdr(("mild", "moderate", "normal", "severe")) and not is_icdr(("No_DR", "DR"))
