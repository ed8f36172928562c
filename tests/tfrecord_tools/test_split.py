"""Splits: nobody on two sides, every share where it belongs, the same for ever."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrecord_tools.split import (
    Assignment,
    Fractions,
    assign,
    choose_fractions,
    count_classes,
    label_conflicts,
)
from tfrecord_tools.spool import Fact


def fact(
    name: str, patient: str = "", grade: int = 0, split: str | None = None, pixels: str = "", reason: str = ""
) -> Fact:
    return Fact(name, f"{name}.png", reason, patient or name, split, {"dr_grade": grade}, pixels=pixels or name)


def by_name(facts: list[Fact], assignment: Assignment) -> dict[str, str]:
    names = {facts[index].image_id: split for index, split in assignment.splits.items()}
    return names | {facts[index].image_id: reason for index, reason in assignment.reasons.items()}


def run(facts: list[Fact], pairs=(), val=0.15, test=0.15, seed=0) -> dict[str, str]:
    return by_name(facts, assign(facts, pairs, Fractions(val, test), seed, ["dr_grade"]))


def crowd(patients: int = 400) -> list[Fact]:
    rng = random.Random(5)
    facts = []
    for patient in range(patients):
        grade = rng.choices(range(5), (50, 10, 25, 10, 5))[0]
        facts += [
            fact(f"{patient}_{side}", f"p{patient}", max(0, grade - (side == "right"))) for side in ("left", "right")
        ]
    return facts


def test_both_eyes_together_and_each_grade_in_its_share():
    facts = crowd()
    splits = run(facts)
    sides = defaultdict(set)
    worst: dict[str, int] = defaultdict(int)
    for one in facts:
        sides[one.patient].add(splits[one.image_id])
        worst[one.patient] = max(worst[one.patient], one.labels["dr_grade"])
    assert all(len(found) == 1 for found in sides.values())
    for grade in range(5):
        patients = [patient for patient, value in worst.items() if value == grade]
        counts = Counter(next(iter(sides[patient])) for patient in patients)
        for split, share in (("val", 0.15), ("test", 0.15)):
            assert abs(counts[split] - share * len(patients)) <= 0.5 + 1e-9


def test_row_order_changes_nothing_and_seed_does():
    facts = crowd(100)
    splits = run(facts)
    for seed in range(3):
        assert run(random.Random(seed).sample(facts, len(facts))) == splits
    assert run(facts, seed=1) != splits


def test_new_patients_move_few_old_ones():
    facts = crowd(400)
    before = run(facts[:780])
    after = run(facts)
    moved = sum(before[name] != after[name] for name in before)
    assert moved <= 0.02 * len(before)


def test_published_assignment_stays_as_it_is():
    """Fixed by value: a change of the hash would move patients between training and test of existing records."""
    splits = run([fact(f"image{number}") for number in range(12)], val=0.25, test=0.25)
    assert {name for name, split in splits.items() if split == "test"} == {"image3", "image4", "image11"}


def test_small_strata_still_give_one_to_each_split():
    splits = run([fact(f"rare{number}", grade=4) for number in range(3)])
    assert sorted(splits.values()) == ["test", "train", "val"]
    assert set(run([fact("only", grade=4)]).values()) == {"train"}


def test_official_test_set_is_kept_and_only_training_is_divided():
    facts = [fact(f"t{number}", split="test") for number in range(10)]
    facts += [fact(f"r{number}", split="train") for number in range(40)]
    splits = run(facts, val=0.25, test=0.0)
    assert all(splits[f"t{number}"] == "test" for number in range(10))
    assert Counter(splits[f"r{number}"] for number in range(40)) == {"train": 30, "val": 10}


def test_exact_duplicates_stay_once():
    splits = run([fact("b", pixels="x"), fact("a", pixels="x"), fact("c")])
    assert splits["b"] == "exact duplicate of a"
    assert splits["a"] in ("train", "val", "test")


def test_exact_duplicates_that_contradict_are_all_set_aside():
    splits = run([fact("a", grade=4, pixels="x"), fact("b", grade=3, pixels="x"), fact("c")])
    assert splits["a"] == "exact duplicate of b with conflicting labels (dr_grade 3 and 4)"
    assert splits["b"] == "exact duplicate of a with conflicting labels (dr_grade 3 and 4)"


def test_training_copy_of_an_official_test_photograph_is_set_aside():
    splits = run(
        [
            fact("train/a", grade=0, split="train", pixels="x"),
            fact("test/b", grade=3, split="test", pixels="x"),
        ]
    )
    assert splits == {
        "test/b": "test",
        "train/a": "exact duplicate of test/b of the official test split (dr_grade 0 and 3)",
    }


def test_near_duplicates_stand_together_or_are_set_aside():
    facts = [fact(f"n{number}") for number in range(60)]
    pairs = [(number, number + 1) for number in range(0, 60, 2)]
    splits = run(facts, pairs, val=0.4, test=0.4)
    assert all(splits[f"n{first}"] == splits[f"n{second}"] for first, second in pairs)
    splits = run([fact("a", grade=1), fact("b", grade=2), fact("c")], [(0, 1)])
    assert splits["a"] == "near-duplicate of b with conflicting labels (dr_grade 1 and 2)"


def test_patient_of_the_official_test_set_leaves_training():
    facts = [fact("l", "p", split="train"), fact("r", "p", split="test"), fact("other", split="train")]
    assert run(facts, val=0.0, test=0.0)["l"] == "belongs with r of the official test split"


def test_chain_of_patient_and_duplicate_is_one_group():
    facts = [
        fact("a", "p"),
        fact("b", "p"),
        fact("c", "q"),
        fact("d", "q"),
        *(fact(f"x{i}") for i in range(20)),
    ]
    splits = run(facts, [(1, 2)], val=0.4, test=0.4)
    assert len({splits[name] for name in "abcd"}) == 1


def test_rejected_photographs_take_no_part():
    splits = run([fact("bad", pixels="x", reason="too dark"), fact("good", pixels="x")])
    assert list(splits) == ["good"]


@given(data=st.data())
def test_no_patient_and_no_copy_ever_crosses_a_split(data):
    count = data.draw(st.integers(1, 30))
    facts = [
        fact(
            f"i{number}",
            f"p{data.draw(st.integers(0, 12))}",
            data.draw(st.integers(0, 2)),
            data.draw(st.sampled_from([None, "train", "val", "test"])),
            f"x{data.draw(st.integers(0, 40))}",
        )
        for number in range(count)
    ]
    index = st.integers(0, count - 1)
    pairs = data.draw(st.lists(st.tuples(index, index).map(sorted).map(tuple), max_size=10))
    found = assign(facts, pairs, Fractions(0.3, 0.3), 0, ["dr_grade"])
    assert sorted([*found.splits, *found.reasons]) == list(range(count)), "each photograph is taken or has a reason"
    sides = defaultdict(set)
    for number, split in found.splits.items():
        sides["patient", facts[number].patient].add(split)
        sides["pixels", facts[number].pixels].add(split)
    for first, second in pairs:
        if first in found.splits and second in found.splits:
            sides["pair", first, second] |= {found.splits[first], found.splits[second]}
    assert all(len(splits) == 1 for splits in sides.values())
    assert len({facts[number].pixels for number in found.splits}) == len(found.splits), "exact copies once"


def test_fractions():
    assert choose_fractions({None}, None, None) == Fractions(0.15, 0.15)
    assert choose_fractions({"train", "test"}, None, None) == Fractions(0.15, 0.0)
    assert choose_fractions({"train", "val", "test"}, None, None) == Fractions(0.0, 0.0)
    assert choose_fractions({None}, 0.0, 0.5) == Fractions(0.0, 0.5)
    for official, val, test, message in (
        ({"test"}, None, 0.1, "official test split, which is kept. Leave out --test_fraction"),
        ({None}, 1.0, None, "--val_fraction must be"),
        ({None}, -0.1, None, "--val_fraction must be"),
        ({None}, 0.5, 0.5, "leave nothing for training"),
    ):
        with pytest.raises(ValueError, match=message):
            choose_fractions(official, val, test)


def test_missing_labels_contradict_nothing_and_are_counted():
    one, other = fact("a", grade=-1), fact("b", grade=2)
    assert label_conflicts([one, other]) == []
    assert label_conflicts([other, fact("c", grade=4)]) == ["dr_grade 2 and 4"]
    assert count_classes([one, other], {"dr_grade": "01234"})["dr_grade"] == {
        "0": 0, "1": 0, "2": 1, "3": 0, "4": 0, "-1": 1,
    }  # fmt: skip
    assert dataclasses.asdict(one)["labels"] == {"dr_grade": -1}
