"""Folders, tables and cells that are called by a split, in several languages."""

from __future__ import annotations

import pytest

from tfrecord_tools.own_data.split_names import split_of, split_within

NAMES = {
    "train": "train|Training Set|TRAIN_images|train_1|a. Training Set|Trainingsdaten|Entraînement|apprentissage|Treino",
    "val": "val|valid|Validation|dev|development set|Validierung|Validierungsdaten|validación|Validação|tuning",
    "test": "test|Testing Set|test_images|b. Testing Set|Testdaten|Testset|prueba",
}


@pytest.mark.parametrize(
    ("name", "split"), [(name, split) for split, names in NAMES.items() for name in names.split("|")]
)
def test_names_of_splits(name: str, split: str):
    assert split_of(name) == split


@pytest.mark.parametrize(
    "name",
    ["", "trained", "valve", "device", "contest", "tested", "train or test", "testis", "normal", "tuned", "validity"],
)
def test_names_of_none(name: str):
    assert split_of(name) is None


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("IDRiD_Disease Grading_Training Labels", "train"),
        ("site B test", "test"),
        ("train_and_test", None),
        ("labels", None),
        ("test_images", "test"),
    ],
)
def test_the_split_within_a_longer_name(name: str, split: str | None):
    assert split_within(name) == split
