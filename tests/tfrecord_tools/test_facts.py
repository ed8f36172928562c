"""Facts in columns and items on disk are given back as they were."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tfrecord_tools.facts import Fact, FactTable
from tfrecord_tools.items import Item, MaskSource
from tfrecord_tools.on_disk import DiskList, beside


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


FACTS = [
    Fact("眼 1", "", patient="p", split="test", labels={"grade": 3, "dme": -1}, pixels=digest("a"), chunk=0, length=9),
    Fact("b", "", reason="truncated: it ends early"),
    Fact("c", "", patient="q", labels={"grade": 3, "dme": -1}, pixels=digest("c"), chunk=7, offset=1 << 40, length=12),
    Fact("d", "", patient="q", labels={}, pixels=digest("a"), split="train", chunk=7, offset=3, length=1),
]


def test_the_table_gives_back_what_the_split_needs():
    table = FactTable(FACTS)
    assert list(table) == FACTS and table[-1] == FACTS[-1] and table[1:3] == FACTS[1:3] and len(table) == 4
    with pytest.raises(IndexError):
        table[4]


def test_items_on_disk_are_the_items(tmp_path: Path):
    odd = os.fsdecode(b"masks\xfc/m.png")
    items = [
        Item(
            f"eye {number}", f"{number}.png", "p", {"grade": number}, "test", "left",
            {"optic_disc": MaskSource((odd,), "between", 2, 7)}, {"fovea": (1.5, 2.5)}, stamps={odd: (1, 2)},
        )
        for number in range(100)
    ] + [Item("drawn", "", "p", seed=4)]  # fmt: skip
    with beside(tmp_path / "not" / "there" / "records"):
        kept = DiskList(iter(items))
    assert list(kept) == items and kept[70:80] == items[70:80] and kept[-1].seed == 4 and len(kept) == 101
    assert kept[5].stamps == {odd: (1, 2)} and kept[5].masks["optic_disc"].upper == 7
    assert not list(tmp_path.iterdir()), "the file has no name that a killed build could leave"
    with pytest.raises(IndexError):
        kept[101]
