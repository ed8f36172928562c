"""Which classes are the disease: read from names where that is safe, and nothing said where it is not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dr_edge.data import label_values, pipeline, positive, tasks
from dr_edge.data.records_info import RecordsInfo

ILL = (
    "glaucoma|DR|NPDR|PDR|nonproliferative|non-proliferative DR|Non-Exudative AMD|non-diabetic "
    "retinopathy|nodule|non-center-involving DME|normal tension glaucoma|abnormal|unhealthy|not "
    "normal|non-normal|referable|sick|yes|present|Glaucoma_Positive|RG|cases|other diseases|mild|ja|Glaukom ja|kein "
    "Normalbefund"
)

HEALTHY = (
    "normal|Normal|NORMAL |healthy|no_dr|No_DR|NoDR|nodr|No DR|no findings|no apparent "
    "retinopathy|non-referable|nonreferable|NonReferable|Not Referable|non_glaucoma|nonglaucomatous|Non-DR|non "
    "diabetic|negative|glaucoma_negative|absent|DR-free|without DR|eyes without "
    "glaucoma|1_normal|normal_fundus|Healthy eyes|control|none|no|false|NRG|glaucoma_no|gesund|Gesunde|gesunde "
    "Augen|unauffällig|unauffaellig|Normalbefund|nein|Glaukom nein|glaucome_non|keine|yeux sains"
)


@pytest.mark.parametrize("name", HEALTHY.split("|"))
def test_names_of_those_without_the_disease(name):
    assert positive.reads_healthy(name) is True


@pytest.mark.parametrize("name", ILL.split("|"))
def test_names_that_are_not_those_of_the_healthy(name):
    assert positive.reads_healthy(name) is False


@pytest.mark.parametrize(
    "name",
    [
        "neu",
        "unsortiert",
        "ungradable",
        "unknown",
        "poor quality",
        "no image",
        "unlabelled",
        "normal variant",
        "normal_with_drusen",
        "Healthy fellow eye of AMD",
        "x",
        "n",
        "k.A.",
        "N/A",
        "TBD",
        "nicht beurteilbar",
        "illisible",
        "not sure",
        "no answer",
        "not treated",
        "no laser",
        "non-smoker",
        "gesund mit Drusen",
        "unauffällig bis auf Narben",
        "auswertbar",
        "j",
    ],
)
def test_names_that_are_neither(name):
    assert positive.reads_healthy(name) is None


@pytest.mark.parametrize(
    ("names", "ill"),
    [
        (("glaucoma", "normal"), (0,)),
        (("cataract", "normal"), (0,)),
        (("dr", "no_dr"), (0,)),
        (("disease", "healthy"), (0,)),
        (("healthy", "sick"), (1,)),
        (("Glaucoma", "Non-Glaucoma"), (0,)),
        (("0", "1"), (1,)),
        (("grade 0", "grade 1", "grade 2"), (1, 2)),
        (("R0", "R1", "R2", "R3"), (1, 2, 3)),
        (("cataract", "glaucoma", "normal"), (0, 1)),
        (("Mild", "Moderate", "No_DR", "Proliferate_DR", "Severe"), (0, 1, 3, 4)),
        (("a", "b"), ()),
        (("1", "2"), ()),
        (("camera_0", "camera_1"), ()),
        (("NPDR", "PDR"), ()),
        (("no_dr", "normal", "dr"), ()),
        (("glaucoma", "normal", "ungradable"), ()),
        (("gradable", "ungradable"), ()),
    ],
)
def test_the_others_of_the_one_healthy_class_are_the_disease(names, ill):
    assert positive.guess(names) == ill


def test_what_the_label_is_called_counts():
    assert positive.guess(("0", "1"), "glaucoma") == (1,)
    assert (
        positive.guess(("0", "1", "2", "3", "4"), "dr_grade")
        == (2, 3, 4)
        == positive.guess(tasks.GRADE_NAMES, "dr_grade")
    )
    for label in (
        "normal", "image_quality", "gradable", "laterality", "is_normal", "normality", "image quality ok",
        "fundus_visible", "no_dr", "N", "gesund", "Normalbefund", "Bildqualität", "auswertbar", "Auge", "scharf",
        "o. B.", "Glaukom ausgeschlossen", "DR ruled out", "glaucome exclu", "ohne Befund", "unremarkable",
        "macula intact",
    ):  # fmt: skip
        for names in (("0", "1"), ("no", "yes"), ("false", "true"), ("ja", "nein")):
            assert positive.guess(names, label) == (), (label, names)
    for label in ("eye_disease", "right_eye_glaucoma", "normal_tension_glaucoma", "has_dr", "is_referable"):
        assert positive.guess(("0", "1"), label) == (1,), label


def test_words():
    assert positive.sentence(("glaucoma", "normal"), (0,)) == "Disease: glaucoma; healthy: normal"
    assert positive.named(("cataract", "glaucoma", "normal"), (0, 1)) == "cataract or glaucoma"
    assert positive.named(("0", "1"), (1,), "glaucoma") == "glaucoma 1"
    assert (
        positive.named(("no", "yes"), (1,), "glaucoma") == "glaucoma yes"
        and positive.named(("no", "yes"), (1,)) == "yes"
    )
    assert tasks.dr_grade().positive_name == "grade >= 2"
    assert tasks.referable_dr().positive_name == "referable" and tasks.referable_dr().negative_name == "non-referable"


def test_thresholds_of_one_class_told_for_the_other_decide_the_same():
    rng = np.random.default_rng(0)
    healthy = rng.uniform(size=50)  # probability of class 1, which an earlier release took for the disease
    point = {"name": "sensitivity_90", "threshold": 0.3, "sensitivity": 0.9, "specificity": 0.7, "split": "val"}
    (told,) = positive.of_disease([point], (1,), (0,))
    assert told["name"] == "specificity_90" and (told["sensitivity"], told["specificity"]) == (0.7, 0.9)
    np.testing.assert_array_equal(1 - healthy >= told["threshold"], ~(healthy >= 0.3))
    assert positive.of_disease([point], (1,), (1,)) == [point] and positive.of_disease([point], (1,), (0, 1)) == []


def test_a_task_of_a_label_is_called_as_the_records_call_it():
    task = tasks.label("class").resolve(("glaucoma", "normal"))
    assert (task.class_names, task.positive, task.record_names) == (
        ("glaucoma", "normal"),
        (0,),
        ("glaucoma", "normal"),
    )
    assert tasks.Task.from_json(json.loads(json.dumps(task.to_json()))) == task
    renamed = tasks.label("class", rename={"glaucoma": "Glaucoma suspected"}).resolve(("glaucoma", "normal"))
    assert (renamed.class_names, renamed.positive_name) == (("Glaucoma suspected", "normal"), "Glaucoma suspected")
    probabilities = np.array([[0.8, 0.2], [0.3, 0.7]])
    assert task.positive_probability(probabilities).tolist() == [0.8, 0.3]
    assert task.is_positive(np.array([0, 1])).tolist() == [True, False]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"class_names": ("healthy", "sick")}, "no 'healthy', 'sick'.*tasks.label.rename"),
        ({"class_names": ("normal", "glaucoma")}, "called by another's name"),
        ({"class_names": ("glaucoma",)}, "leaves out"),
        ({"rename": {"sick": "ill"}}, "no 'sick'"),
        ({"rename": {"glaucoma": "normal"}}, "one name"),
        ({"rename": {"glaucoma": "normal", "normal": "glaucoma"}}, "Which class is the disease"),
        ({"positive": ("sick",)}, "no class is called 'sick'"),
        ({"positive": ("glaucoma", "normal")}, "all classes"),
    ],
)
def test_other_names_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        tasks.label("class", **options).resolve(("glaucoma", "normal"))


def test_where_the_names_do_not_say_it_it_is_asked_for():
    with pytest.raises(ValueError, match=r"""--gin_param="tasks.label.positive = \('a',\)"""):
        tasks.label("class").resolve(("a", "b"))
    assert tasks.label("class", positive="b").resolve(("a", "b")).positive == (1,)
    assert tasks.label("class").resolve(("a", "b"), stated=["a"]).positive == (0,)
    none = tasks.label("class", positive=()).resolve(("a", "b"))
    assert none.positive == () and not none.positive_assumed and none.caution is None
    assert tasks.label("glaucoma", positive=(1,)).resolve(("0", "1")).positive == (1,)


def test_runs_of_earlier_releases():
    """What is not stated is read from the names, else the second of two, with a caution."""
    old = {"name": "class", "kind": "classification", "labels": ["class"], "mapping": [], "masks": [], "ordered": False}
    assert tasks.Task.from_json({**old, "class_names": ["glaucoma", "normal"]}).positive == (0,)
    unknown = tasks.Task.from_json({**old, "class_names": ["a", "b"]})
    assert unknown.positive == (1,) and "'b' is taken for it" in unknown.caution
    grades = {
        **old,
        "name": "dr_grade",
        "labels": ["dr_grade"],
        "class_names": list(tasks.GRADE_NAMES),
        "ordered": True,
    }
    assert tasks.Task.from_json(grades).positive == (2, 3, 4)
    assert tasks.Task.from_json({**old, "class_names": ["a", "b", "c"]}).positive == ()


def info(label: str, names: list[str], stated: list[str] | None = None) -> RecordsInfo:
    counts = {str(value): 1 for value in range(len(names))}
    splits = {"train": {"examples": len(names), "classes": {label: counts}}}
    content = {"labels": {label: names}, "splits": splits}
    return RecordsInfo("records", 64, {"method": "crop"}, content | ({"positive": {label: stated}} if stated else {}))


def test_records_of_another_hospital_are_read_by_name():
    task = tasks.label("class").resolve(("cataract", "glaucoma", "normal"))
    assert label_values.tables(info("class", ["glaucoma", "normal"]), task) == [[1, 2]]
    with pytest.raises(ValueError, match="which is which"):
        label_values.tables(info("class", ["disease", "healthy"]), task)


def test_grades_by_name_in_another_order_are_refused():
    sorted_names = ["mild", "moderate", "no DR", "proliferative", "severe"]
    with pytest.raises(ValueError, match="0 is 'mild'"):
        pipeline.check_task(info("dr_grade", sorted_names), tasks.referable_dr())
    for names in (
        ["0", "1", "2", "3", "4"],
        ["none", "mild", "moderate", "severe", "proliferative"],
        list(tasks.GRADE_NAMES),
    ):
        pipeline.check_task(info("dr_grade", names), tasks.referable_dr())


def test_a_run_that_called_the_ill_healthy_is_refused():
    """As the README of an earlier release had it: class_names = ('healthy', 'sick') for folders glaucoma and normal."""
    old = tasks.Task("class", "classification", ("healthy", "sick"), labels=("class",))
    with pytest.raises(ValueError, match="'sick' what records calls 'normal'"):
        pipeline.check_task(info("class", ["glaucoma", "normal"]), old)
    pipeline.check_task(info("class", ["control", "glaucoma"]), old)


@pytest.mark.parametrize(
    ("names", "stated", "present"),
    [
        (["absent", "present"], None, [0, 1]),
        (["glaucoma", "normal"], None, [1, 0]),
        (["0", "1", "2"], None, [0, 1, 1]),
        (["ja", "nein"], None, [1, 0]),
        (["ei", "kyllä"], ["kyllä"], [0, 1]),
    ],
)
def test_a_disease_of_several_is_present_where_its_name_says_so(names, stated, present):
    held = info("glaucoma", names, stated)
    assert label_values.tables(held, tasks.diseases(("glaucoma",))) == [present]
    assert pipeline.class_counts(held, "train", tasks.diseases(("glaucoma",))).tolist() == [
        [present.count(0), present.count(1)]
    ]


def test_a_disease_of_several_whose_names_say_nothing_is_asked_for():
    for names in (["ei", "kyllä"], ["glaucoma"]):
        with pytest.raises(ValueError, match="--positive=glaucoma="):
            label_values.tables(info("glaucoma", names), tasks.diseases(("glaucoma",)))


@pytest.mark.parametrize(
    ("names", "ill", "label", "says"),
    [
        (
            ("glaucoma", "normal"),
            (1,),
            "class",
            "'normal' was called the disease, and reads as healthy; 'glaucoma' reads as a disease and was not",
        ),
        (("0", "1"), (0,), "glaucoma", "'0' was called the disease"),
        (("cataract", "glaucoma", "normal"), (1, 2), "class", "'cataract' reads as a disease and was not called one"),
        (("glaucoma", "no_glaucoma", "normal"), (0, 2), "class", "'glaucoma' reads as a disease, too"),
        (("no", "yes"), (0,), "glaucoma", "'no' was called the disease"),
        (("glaucoma", "normal", "ungradable"), (1,), "class", "'normal' was called the disease"),
        (tasks.GRADE_NAMES, (0, 1), "dr_grade", "'no DR' was called the disease"),
    ],
)
def test_a_healthy_class_that_is_called_the_disease_is_obeyed_with_a_caution(names, ill, label, says):
    assert says in positive.reversed_words(names, ill, label)
    task = tasks.label(label, positive=[names[index] for index in ill]).resolve(names)
    assert task.positive == ill and says in task.caution


@pytest.mark.parametrize(
    ("names", "ill", "label"),
    [
        (("glaucoma", "normal"), (0,), "class"),
        (("glaucoma", "normal"), (), "class"),
        (("cataract", "glaucoma", "normal"), (1,), "class"),
        (("0", "1"), (0,), "is_normal"),
        (("no", "yes"), (0,), "is_normal"),
        (("A", "B"), (0,), "class"),
        (("no_dr", "normal"), (1,), "class"),
        (tasks.GRADE_NAMES, (1, 2, 3, 4), "dr_grade"),
    ],
)
def test_what_is_said_of_classes_rightly_gets_no_caution(names, ill, label):
    assert positive.reversed_words(names, ill, label) is None
