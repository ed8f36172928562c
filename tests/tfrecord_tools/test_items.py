"""Items, their checks, and the stable sample."""

from __future__ import annotations

import hashlib
import random

import pytest

from tfrecord_tools.items import DatasetError, Item, Listing, MaskSource, check_listing, sample, stable_hash


def item(name: str, patient: str = "", **rest) -> Item:
    return Item(name, f"{name}.png", patient or name, **rest)


def test_stable_hash_is_sha256_of_the_parts():
    assert stable_hash("split", 0, "p") == hashlib.sha256(b"split\x000\x00p").hexdigest()
    assert stable_hash("a", "bc") != stable_hash("ab", "c")


def test_sample_keeps_patients_whole_and_ignores_the_order():
    items = [item(f"{number}_{side}", f"{number}") for number in range(50) for side in ("left", "right")]
    chosen = sample(items, 21, seed=0)
    assert len(chosen) == 22
    assert all(sum(other.patient == one.patient for other in chosen) == 2 for one in chosen)
    shuffled = random.Random(1).sample(items, len(items))
    assert sample(shuffled, 21, seed=0) == chosen
    assert sample(items, 21, seed=1) != chosen
    larger = {one.image_id for one in sample(items, 40, seed=0)}
    assert {one.image_id for one in chosen} <= larger, "a larger sample holds the smaller one"
    with pytest.raises(ValueError, match="--limit"):
        sample(items, 0, seed=0)


def test_item_without_path_or_patient_is_refused():
    with pytest.raises(ValueError, match="needs an id, a patient"):
        Item("a", "", "a")
    with pytest.raises(ValueError, match="split must be one of"):
        item("a", split="holdout")
    with pytest.raises(ValueError, match="laterality"):
        item("a", laterality="OD")


def test_mask_source_needs_files_unless_it_is_empty():
    assert MaskSource(rule="none").paths == ()
    for paths, rule in (((), "at_least"), (("a",), "none"), (("a",), "more_than")):
        with pytest.raises(ValueError, match="rule"):
            MaskSource(paths, rule)


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        (Listing({}, [], rejected=[("a.png", "missing")]), "no photograph is left of 1"),
        (Listing({}, [item("a"), item("a")]), "'a' occurs twice"),
        (Listing({"g": ("no", "yes")}, [item("a", labels={"g": 2})]), "g=2"),
        (Listing({"g": ("no", "yes")}, [item("a", labels={"h": 0})]), "h=0"),
        (Listing({}, [item("a", masks={"disc": MaskSource(rule="none")})]), "mask"),
        (Listing({}, [item("a", centres={"fovea": (1.0, 2.0)})]), "centre"),
    ],
)
def test_listing_that_contradicts_itself_is_refused(listing: Listing, message: str):
    with pytest.raises(DatasetError, match=message):
        check_listing(listing, "test")


def test_missing_label_is_allowed():
    check_listing(Listing({"g": ("no", "yes")}, [item("a", labels={"g": -1})]), "test")
