"""Lists on the disk are lists, and what is told by digests alone is what the texts tell."""

from __future__ import annotations

import random
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from tfrecord_tools import grouping, on_disk
from tfrecord_tools.grouping import Lookup, Texts, smallest_spellings
from tfrecord_tools.on_disk import Chosen, DiskList, Seen, beside, in_order


@pytest.fixture(params=["in memory", "on the disk"])
def places(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A list of few bytes is kept in memory until it grows; here it is written from the first byte on."""
    if request.param == "on the disk":
        monkeypatch.setattr(on_disk, "WRITTEN_AT_ONCE", 1)
    return request.param


def test_a_list_on_the_disk_is_the_list(places: str, tmp_path: Path):
    values = [(number, "x" * (number % 70), None) for number in range(500)]
    with beside(tmp_path / "not" / "there"):
        kept = DiskList(iter(values[:400]))
    assert list(kept) == values[:400]
    for value in values[400:]:  # read and then written to
        kept.append(value)
        assert kept[-1] == value
    assert list(kept) == values and len(kept) == 500 and kept[3] == values[3] and kept[-500] == values[0]
    assert kept[7:300] == values[7:300] and kept[::-7] == values[::-7] and kept == values and kept != values[:-1]
    assert kept != [*values[:-1], None] and DiskList() == []
    with pytest.raises(IndexError):
        kept[500]
    assert not list(tmp_path.iterdir()), "the file has no name that a killed build could leave"


def test_what_is_seen_and_chosen_of_it(places: str):
    kept = DiskList(range(1000))
    seen = Seen(kept, lambda value: value * 2)
    assert list(seen) == list(range(0, 2000, 2)) and seen[5] == 10 and seen[5:8] == [10, 12, 14] and len(seen) == 1000
    for chosen in (range(300, 600), range(9, 900, 7)):
        few = Chosen(seen, chosen)
        assert list(few) == [value * 2 for value in chosen] and few[3] == chosen[3] * 2
        assert few[2:5] == [value * 2 for value in chosen[2:5]] and len(few) == len(chosen)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 1000])
def test_what_does_not_fit_into_memory_is_sorted_as_the_rest(count: int, monkeypatch):
    monkeypatch.setattr(on_disk, "RUN", 16)
    rng = random.Random(count)
    values = [(rng.randrange(50), rng.choice("abc"), number) for number in range(count)]
    assert list(in_order(iter(values))) == sorted(values)
    assert list(in_order(iter(values), key=lambda value: value[0])) == sorted(values, key=lambda value: value[0])


def test_how_often_each_text_is_there():
    rng = random.Random(4)
    words = ["".join(rng.choices("abc", k=rng.randint(0, 3))) for _ in range(3000)]
    counted, found = Counter(words), Texts(words)
    assert len(found) == len(counted) and sorted(found.counts.tolist()) == sorted(counted.values())
    assert all(found.count(word) == count and word in found for word, count in counted.items())
    assert "abcd" not in found and found.count("abcd") == 0 and len(Texts([])) == 0 and "" not in Texts([])
    lookup = Lookup(words)
    for word in counted:
        assert lookup.places(word) == [place for place, one in enumerate(words) if one == word]
    assert lookup.places("abcd") == []


def test_the_smallest_of_several_spellings():
    words = ["P7", "p7", "Q", "stra\u00dfe", "STRASSE", "q1", "Q1", "q1"] * 3
    spelled = smallest_spellings(words)
    expected = {word: min(other for other in words if other.casefold() == word.casefold()) for word in words}
    assert {word: spelled(word) for word in words} == expected
    assert smallest_spellings(["a", "b", "a"])("a") == "a"


def test_names_of_one_digest_are_told_apart_where_files_are_found(monkeypatch, tmp_path: Path):
    from tfrecord_tools.matching import index_images

    for name in ("one.png", "two.png", "three.png"):
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.setattr(grouping, "digest_of", lambda text: 7)
    images = index_images([tmp_path])
    assert sorted(images) == ["one", "three", "two"] and images.pop("two").name == "two.png"
    assert "two" not in images and sorted(path.name for path in images.values()) == ["one.png", "three.png"]
    assert images.pop("four", None) is None and len(images) == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "folder"])
def test_a_photograph_takes_few_bytes_of_the_launcher(kind: str, tmp_path: Path, monkeypatch):
    """While the directory is listed: a table with patients, folders of classes."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    from bench_launcher import photographs

    from tfrecord_tools.plan import BuildOptions, plan_build

    monkeypatch.setattr(on_disk, "RUN", 128)
    monkeypatch.setattr(on_disk, "WRITTEN_AT_ONCE", 1024)
    # Paths enlarge the interpreter's table of names, two megabytes at once, whenever enough have come and gone.
    monkeypatch.setattr(sys, "intern", str)
    options = {count: photographs(kind, count, tmp_path / str(count)) for count in (3000, 1000)}
    peaks = {}
    for count in (3000, 1000, 3000):  # the first imports what is imported late
        tracemalloc.start()
        plan = plan_build(BuildOptions(data_dir=tmp_path / str(count), out=tmp_path / "out", **options[count]))
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(plan.items) == count
    slope = (peaks[3000] - peaks[1000]) / 2000
    print(f"\n{kind}: {slope:.0f} bytes each")
    assert slope < 200
