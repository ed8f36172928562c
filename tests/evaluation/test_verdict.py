"""Is a model better than guessing? Judged on scores whose worth is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from dr_edge.data import tasks
from dr_edge.data.tasks import Task
from dr_edge.evaluation import verdict
from dr_edge.verdict import (
    BETTER,
    NOT_EVALUATED,
    NOT_TOLD,
    UNKNOWN,
    WORSE,
    of_bundle,
    title,
    with_caution,
    with_title,
)

N = 120
PEOPLE = verdict.People(np.array([f"p{index // 2}" for index in range(N)]))
LABELS = np.random.default_rng(1).integers(0, 2, N)


def two_classes(scores: np.ndarray) -> np.ndarray:
    return np.stack([1 - scores, scores], axis=1)


def judged(scores: np.ndarray, labels: np.ndarray = LABELS, split: str = "test", unseen: bool = True) -> dict:
    patients = np.array([f"p{index // 2}" for index in range(len(labels))])
    return verdict.of_answers(
        tasks.referable_dr(), labels, two_classes(scores), verdict.People(patients), split, unseen
    )


def noisy(labels: np.ndarray, weight: float) -> np.ndarray:
    """Scores 0..1 that hold `weight` of the label and noise for the rest."""
    noise = np.random.default_rng(2).uniform(size=len(labels))
    return np.clip(weight * labels + (1 - abs(weight)) * noise - min(weight, 0), 0, 1)


@pytest.mark.parametrize(("weight", "status"), [(0.3, BETTER), (0.0, NOT_TOLD), (-0.3, WORSE)])
def test_two_classes_against_guessing(weight, status):
    result = judged(noisy(LABELS, weight))
    assert result["status"] == status and result["title"] == title(status)
    (part,) = result["parts"]
    low, high = result["interval"]
    assert low < result["value"] < high and part["baseline_value"] == 0.5
    assert result["text"].startswith(title(status)) and f"On {N} test images of {N // 2} patients" in result["text"]
    assert {BETTER: low > 0.5, NOT_TOLD: low <= 0.5 <= high, WORSE: high < 0.5}[status]
    if status == BETTER:
        assert result["caution"] is None
    else:
        assert result["caution"].startswith(title(status)) and result["caution"].endswith("Do not rely on this answer.")


def test_few_patients_tell_nothing_however_good_the_scores_are():
    labels = np.r_[np.ones(2 * (verdict.FEWEST - 1), int), np.zeros(40, int)]
    few = judged(labels.astype(float), labels)
    assert few["value"] == 1.0 and few["status"] == NOT_TOLD
    assert f"only {verdict.FEWEST - 1} patients with it" in few["text"]
    labels = np.r_[np.ones(2 * verdict.FEWEST, int), np.zeros(40, int)]
    assert judged(labels.astype(float), labels)["status"] == BETTER
    one_class = judged(np.linspace(0, 1, 40), np.zeros(40, int))
    assert (
        one_class["status"] == NOT_TOLD
        and one_class["value"] is None
        and "only 0 patients with it" in one_class["text"]
    )


def test_a_model_that_answers_the_same_for_everybody_is_not_better_whatever_the_order():
    scores = noisy(LABELS, 0.6)
    for width, status in ((1.0, BETTER), (2e-2, BETTER), (1e-4, NOT_TOLD)):
        result = judged(0.4766 + width * (scores - 0.4766))
        assert result["status"] == status and result["value"] > 0.9
        assert ("all images get the same probability (0.477 to 0.477)" in (result["caution"] or "")) == (
            status == NOT_TOLD
        )


def test_images_that_the_model_has_seen_make_no_model_good():
    good, bad = (judged(noisy(LABELS, weight), split="val", unseen=False) for weight in (0.5, -0.5))
    assert good["status"] == NOT_EVALUATED and good["title"] == "Not evaluated" and "val split" in good["text"]
    assert good["parts"][0]["status"] == BETTER and good["patients"] is None
    assert bad["status"] == WORSE  # on images that chose it, and yet


def test_of_several_diseases_the_worst_decides_and_is_named():
    labels = np.stack([LABELS, LABELS[::-1]], axis=1)
    labels[::5, 1] = -1
    scores = np.stack([noisy(labels[:, 0], 0.6), noisy(LABELS, 0.0)], axis=1)
    result = verdict.of_answers(tasks.diseases(), labels, scores, PEOPLE, "test", True)
    assert [part["status"] for part in result["parts"]] == [BETTER, NOT_TOLD]
    assert result["status"] == NOT_TOLD and " for diabetic_retinopathy on the test images" in result["caution"]
    assert result["text"].index("Not told from guessing: diabetic_retinopathy") < result["text"].index(
        "Better than guessing: glaucoma"
    )
    assert result["parts"][1]["images"] == N - N // 5


def test_grades_are_judged_by_who_must_be_referred():
    grades = np.random.default_rng(3).integers(0, 5, N)
    scores = np.full((N, 5), 0.02)
    scores[np.arange(N), grades] = 0.92
    result = verdict.of_answers(tasks.dr_grade(), grades, scores, PEOPLE, "test", True)
    assert result["status"] == BETTER and len(result["parts"]) == 1 and result["value"] == 1.0
    reversed_grades = verdict.of_answers(tasks.dr_grade(), 4 - grades, scores, PEOPLE, "test", True)
    assert reversed_grades["status"] == WORSE


def test_classes_without_a_question_are_judged_by_balanced_accuracy():
    task = Task("kind", "classification", ("cataract", "glaucoma", "myopia", "rare"), labels=("kind",))
    labels = np.repeat([0, 1, 2], N // 3)
    labels[:2] = 3  # one patient: too few to count

    def status(answers: np.ndarray) -> dict:
        return verdict.of_answers(task, labels, np.eye(4)[answers], PEOPLE, "test", True)

    right = status(labels)
    assert right["status"] == BETTER and right["value"] == 1.0
    assert right["parts"][0]["baseline_value"] == pytest.approx(1 / 3) and "over 3 classes" in right["text"]
    always = status(np.zeros(N, int))
    assert always["status"] == NOT_TOLD and always["value"] == pytest.approx(1 / 3)
    assert status((labels + 1) % 3)["status"] == WORSE
    few = verdict.of_answers(task, labels[:2], np.eye(4)[labels[:2]], PEOPLE[:2], "test", True)
    assert few["caution"].startswith(
        "Not told from guessing on the test images: only 0 of the classes have 8 patients or more."
    )


def masks(found: np.ndarray, true: np.ndarray, dice: float = 0.9, constant: float = 0.5) -> dict:
    spread = np.random.default_rng(5).normal(0, 0.03, (N, 2))
    return verdict.of_masks(
        ("optic disc", "optic cup"), true, found, dice + spread, constant + spread[::-1], PEOPLE, "test", True
    )


def test_a_ratio_that_is_the_same_for_everybody_is_no_fact():
    true = np.random.default_rng(6).uniform(0.3, 0.8, N)
    same = masks(np.full(N, 0.86), true)
    assert same["status"] == WORSE and same["title"] == "Worse than a constant answer"
    assert same["caution"].startswith("Worse than a constant answer for vertical cup-to-disc ratio")
    ratio = same["parts"][0]
    assert ratio["correlation"] is None and ratio["constant"] == pytest.approx(np.median(true))
    assert ratio["baseline_value"] == pytest.approx(np.abs(true - np.median(true)).mean())
    assert masks(np.full(N, np.median(true)), true)["status"] == NOT_TOLD
    assert ratio["text"].count(", their own median, by") == 1
    good = masks(true + np.random.default_rng(7).normal(0, 0.05, N), true)
    assert good["status"] == BETTER and good["caution"] is None
    nothing_found = masks(np.full(N, np.nan), true)
    assert nothing_found["status"] == NOT_TOLD and "on no photograph" in nothing_found["text"]


def test_a_ratio_is_judged_against_the_one_that_was_chosen_beforehand():
    true = np.random.default_rng(6).uniform(0.3, 0.8, N)
    found = np.full(N, np.median(true) + 0.2)
    dice = np.full((N, 1), 0.9)
    for chosen, status in ((None, WORSE), (float(found[0]), NOT_TOLD), (0.1, BETTER)):
        ratio, _ = verdict.of_masks(("optic disc",), true, found, dice, dice, PEOPLE, "test", True, chosen)["parts"]
        assert ratio["status"] == status and ratio["constant"] == pytest.approx(
            np.median(true) if chosen is None else chosen
        )
        assert ("the median of the validation photographs" in ratio["text"]) == (chosen is not None)


def test_photographs_of_nobody_known_are_not_called_patients():
    strangers = verdict.People(PEOPLE.patients, known=False)
    few = np.array([True] * 6 + [False] * (N - 6))
    assert (strangers.stated, strangers.word, strangers[few].stated) == (None, "images", None)
    assert (PEOPLE.stated, PEOPLE.word, PEOPLE[few].stated) == (N // 2, "patients", 3)
    labels = few.astype(int)
    said = [
        verdict.of_answers(tasks.referable_dr(), labels, two_classes(noisy(labels, 0.5)), who, "test", True)
        for who in (PEOPLE, strangers)
    ]
    assert "only 3 patients with it" in said[0]["text"] and "only 3 images with it" in said[1]["text"]
    assert (said[1]["text"] + said[1]["caution"]).count("patient") == said[1]["text"].count("of unknown patients.") == 1
    assert said[1]["parts"][0]["patients"] is None


def test_masks_no_better_than_one_mask_for_all():
    true = np.random.default_rng(6).uniform(0.3, 0.8, N)
    assert masks(true, true, dice=0.4)["status"] == WORSE
    assert masks(true, true, dice=0.5)["status"] == NOT_TOLD
    result = verdict.of_masks(
        ("optic disc",), None, None, np.full((N, 1), 0.9), np.full((N, 1), 0.6), PEOPLE, "test", True
    )
    assert result["status"] == BETTER and [part["name"] for part in result["parts"]] == ["optic disc"]


def test_a_bundle_without_a_verdict_is_not_known():
    good = judged(noisy(LABELS, 0.5))
    assert of_bundle({"verdict": good}) is good
    for stated in (None, "better", {}, {"status": "splendid", "title": "t", "text": "t"}, {**good, "status": WORSE}):
        found = of_bundle({"verdict": stated})
        assert found["status"] == UNKNOWN and "Not known how good" in found["text"]
    assert of_bundle({})["status"] == UNKNOWN


def test_what_an_answer_starts_with():
    good, bad = judged(noisy(LABELS, 0.5)), judged(noisy(LABELS, -0.5))
    assert with_caution(good, "referable.") == "referable." == with_caution(of_bundle({}), "referable.")
    assert with_caution(bad, "referable.").startswith("Worse than guessing on the test images: AUC 0.")
    assert with_title(bad, "referable") == "Worse than guessing: referable"
