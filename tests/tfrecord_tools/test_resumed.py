"""A build that was interrupted goes on whatever was changed since: only the chunk of what changed is made again."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from dr_edge.metadata import read_manifest
from tfrecord_tools import assembly, chunks
from tfrecord_tools.chunks import FILE, Chunks
from tfrecord_tools.items import Item
from tfrecord_tools.process import Outcome, Settings, process
from tfrecord_tools.verify import verify
from tfrecord_tools.writer import BuildError

Run = Callable[..., Path]
TABLE = {
    "csv": "t.csv",
    "image_column": "file",
    "label_columns": ["sick"],
    "patient_column": "who",
    "split_column": "part",
    "mask_columns": ["optic_disc"],
}
COUNT, CHUNK = 20, 8  # three chunks of the spool: 8, 8, 4


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the photographs that were processed, in this process: workers take a while to start."""
    names: list[str] = []

    def work(items: Iterable[Item], settings: Settings, workers: int) -> Iterator[Outcome]:
        for item in items:
            names.append(item.path)
            yield process(item, settings)

    monkeypatch.setattr(assembly, "process_all", work)
    monkeypatch.setattr(chunks, "CHUNK_ITEMS", CHUNK)
    monkeypatch.setattr(chunks, "MOST_ITEMS", 2 * CHUNK)
    return names


def digests(records: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(records.iterdir())}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory, save_photo, save_grey, draw) -> Path:
    """20 photographs in two folders, each with a mask, and a table; not to be changed."""
    root = tmp_path_factory.mktemp("drawn")
    rows = ["file,who,sick,part,optic_disc"]
    for seed in range(COUNT):
        name = f"{'ab'[seed % 2]}/{seed:02d}"
        save_photo(root / f"{name}.bmp", seed)
        save_grey(root / "masks" / f"m{seed:02d}.png", draw(seed).masks["optic_disc"])
        rows.append(f"{name}.bmp,p{seed // 2},{seed % 3 == 0:d},,masks/m{seed:02d}.png")
    (root / "t.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


@pytest.fixture
def photographs(drawn: Path, tmp_path: Path) -> Path:
    """A copy of `drawn`, to be changed."""
    return Path(shutil.copytree(drawn, tmp_path / "photographs"))


def cut_off(
    root: Path, out: Path, run_build: Run, monkeypatch: pytest.MonkeyPatch, name: str = "read_facts", **options
):
    """Leaves a build of which every photograph is read; before `name` nothing else is done."""

    def stop(*_: object) -> None:
        raise RuntimeError("power failure")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power failure"):
        patch.setattr(assembly, name, stop)
        run_build(options.pop("dataset", "csv"), root, out, **options)


def edit(root: Path, before: str, after: str) -> None:
    """Changes the table."""
    text = (root / "t.csv").read_text(encoding="utf-8")
    assert text.count(before) == 1
    (root / "t.csv").write_text(text.replace(before, after), encoding="utf-8")


def save(root: Path, name: str, seed: int, side: int, draw) -> None:
    """Puts another drawn photograph in the place of one."""
    before = (root / name).stat().st_size
    cv2.imwrite(str(root / name), draw(seed, side).image[..., ::-1])
    assert (root / name).stat().st_size != before


def other_mask(root: Path, name: str) -> None:
    shape = cv2.imread(str(root / name)).shape[:2]
    picture = cv2.circle(np.zeros(shape, np.uint8), (80, 70), 9, 255, -1)
    (root / name).write_bytes(cv2.imencode(".png", picture)[1].tobytes())


# what was changed -> (what was done, number of the chunk that it belongs to, words that the user reads)
CHANGES = {
    "grown": (lambda root, draw: save(root, "b/15.bmp", 200, 160, draw), 2, "changed since: b/15.bmp"),
    "shrunk": (lambda root, draw: save(root, "a/06.bmp", 200, 96, draw), 0, "changed since: a/06.bmp"),
    "emptied": (lambda root, draw: (root / "a/06.bmp").write_bytes(b""), 0, "changed since: a/06.bmp"),
    "cut": (lambda root, draw: (root / "a/06.bmp").write_bytes((root / "a/06.bmp").read_bytes()[:900]), 0, "a/06.bmp"),
    "gone": (lambda root, draw: (root / "a/06.bmp").unlink(), 0, "new, gone or listed otherwise.*: a/06.bmp"),
    "gone with its row": (
        lambda root, draw: [(root / "a/00.bmp").unlink(), edit(root, "a/00.bmp,p0,1,,masks/m00.png\n", "")],
        0,
        "new, gone or listed otherwise.*: a/00.bmp",
    ),
    "the last one gone": (lambda root, draw: (root / "b/19.bmp").unlink(), 2, "gone or listed otherwise.*b/19.bmp"),
    "new": (
        lambda root, draw: [
            shutil.copy(root / "b/15.bmp", root / "b/14.bmp"),
            edit(root, "b/15.bmp", "b/14.bmp,p7,0,,masks/m15.png\nb/15.bmp"),
        ],
        2,
        "new, gone or listed otherwise.*: b/14.bmp",
    ),
    "mask corrected": (lambda root, draw: other_mask(root, "masks/m17.png"), 2, "changed since: masks/m17.png"),
    "mask gone": (lambda root, draw: (root / "masks/m17.png").unlink(), 2, "changed since: masks/m17.png"),
    "label corrected": (lambda root, draw: edit(root, "17.bmp,p8,0", "17.bmp,p8,1"), 2, "listed otherwise.*17.bmp"),
    "patient corrected": (lambda root, draw: edit(root, "17.bmp,p8", "17.bmp,p7"), 2, "listed otherwise.*b/17.bmp"),
    # An official part leaves nothing to --test_fraction, which is 0.15 where nobody says so and there is none.
    "split corrected": (
        lambda root, draw: edit(root, "17.bmp,p8,0,,", "17.bmp,p8,0,test,"),
        2,
        "listed otherwise.*b/17.bmp",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_makes_its_own_chunk_again_and_no_other(
    what: str, photographs: Path, tmp_path: Path, run_build: Run, made: list[str], monkeypatch, draw, caplog
):
    change, chunk, said = CHANGES[what]
    cut_off(photographs, tmp_path / "out", run_build, monkeypatch, table=TABLE)
    before = [made[start : start + CHUNK] for start in range(0, COUNT, CHUNK)]
    change(photographs, draw)
    made.clear()
    resumed = run_build("csv", photographs, tmp_path / "out", table=TABLE)
    assert made, "something was made again"
    assert not set(made) & {name for number, names in enumerate(before) if number != chunk for name in names}
    assert len(made) <= CHUNK + 1
    assert re.search(said, caplog.text), caplog.text
    assert digests(resumed) == digests(run_build("csv", photographs, tmp_path / "fresh", table=TABLE))
    assert verify(resumed) == []
    assert not list(tmp_path.glob(".*.building"))


def test_nothing_changed_and_nothing_is_made_again(
    photographs: Path, tmp_path: Path, run_build: Run, made: list[str], monkeypatch
):
    cut_off(photographs, tmp_path / "out", run_build, monkeypatch, table=TABLE)
    made.clear()
    elsewhere = Path(shutil.copytree(photographs, tmp_path / "elsewhere"))  # the same files in another place
    run_build("csv", elsewhere, tmp_path / "out", table=TABLE)
    assert made == []


def test_a_photograph_that_comes_back_and_several_interruptions(
    photographs: Path, tmp_path: Path, run_build: Run, made: list[str], monkeypatch, draw
):
    out = tmp_path / "out"
    cut_off(photographs, out, run_build, monkeypatch, table=TABLE)
    ids = made[:]
    first = (photographs / ids[8]).read_bytes()  # of the second chunk
    (photographs / ids[8]).unlink()
    save(photographs, ids[3], 201, 150, draw)
    made.clear()
    cut_off(photographs, out, run_build, monkeypatch, table=TABLE)
    assert made == [*ids[:8], *ids[9:16]]
    (photographs / ids[8]).write_bytes(first)
    made.clear()
    cut_off(photographs, out, run_build, monkeypatch, table=TABLE)
    assert made == ids[8:16], "the chunk that it was in before"
    made.clear()
    resumed = run_build("csv", photographs, out, table=TABLE)
    assert made == []
    assert digests(resumed) == digests(run_build("csv", photographs, tmp_path / "fresh", table=TABLE))


def test_a_whole_chunk_gone_and_many_new_ones(
    photographs: Path, tmp_path: Path, run_build: Run, made: list[str], monkeypatch, save_photo, save_grey, draw
):
    out = tmp_path / "out"
    cut_off(photographs, out, run_build, monkeypatch, table=TABLE)
    ids = made[:]
    for name in ids[:8]:
        (photographs / name).unlink()
    for seed in range(300, 325):  # after all others
        save_photo(photographs / f"c/{seed}.bmp", seed)
    rows = [f"c/{seed}.bmp,q{seed},{seed % 2},," for seed in range(300, 325)]
    with open(photographs / "t.csv", "a", encoding="utf-8") as file:
        file.write("\n".join(rows) + "\n")
    made.clear()
    cut_off(photographs, out, run_build, monkeypatch, table=TABLE)
    assert not set(made) & set(ids[8:16]) and len(made) <= 4 + 25
    notes = tmp_path / ".out.building" / "spool"
    assert max(len(json.loads(path.read_text())["facts"]) for path in notes.glob("*.json")) <= 2 * CHUNK
    made.clear()
    resumed = run_build("csv", photographs, out, table=TABLE)
    assert made == []
    assert digests(resumed) == digests(run_build("csv", photographs, tmp_path / "fresh", table=TABLE))
    assert verify(resumed) == []


@pytest.mark.parametrize("change", ["gone", "grown", "moved", "renamed"])
def test_class_folders(
    change: str, photographs: Path, tmp_path: Path, run_build: Run, made: list[str], monkeypatch, draw
):
    shutil.rmtree(photographs / "masks")
    (photographs / "t.csv").unlink()
    options = {"dataset": "folder", "preprocess": "crop"}
    cut_off(photographs, tmp_path / "out", run_build, monkeypatch, **options)
    ids = made[:]
    if change == "gone":
        (photographs / ids[10]).unlink()
    elif change == "grown":
        save(photographs, ids[10], 200, 160, draw)
    else:
        target = {"moved": f"a/{Path(ids[17]).name}", "renamed": f"b/{Path(ids[17]).stem}x.bmp"}[change]
        (photographs / ids[17]).rename(photographs / target)
    made.clear()
    resumed = run_build("folder", photographs, tmp_path / "out")
    kept = {"gone": [*ids[:8], *ids[16:]], "grown": [*ids[:8], *ids[16:]], "moved": ids[8:16], "renamed": ids[:16]}
    assert made and not set(made) & set(kept[change])
    assert digests(resumed) == digests(run_build("folder", photographs, tmp_path / "fresh"))


def test_the_only_tiff_gone(
    photographs: Path, tmp_path: Path, run_build: Run, made: list[str], monkeypatch, save_photo, draw
):
    """Which reader the pixels depend on goes into the key; the other photographs do not depend on it."""
    save_photo(photographs / "b/19.tiff", 19)
    (photographs / "b/19.bmp").unlink()
    edit(photographs, "b/19.bmp", "b/19.tiff")
    cut_off(photographs, tmp_path / "out", run_build, monkeypatch, table=TABLE)
    (photographs / "b/19.tiff").unlink()
    made.clear()
    resumed = run_build("csv", photographs, tmp_path / "out", table=TABLE)
    assert 0 < len(made) < 4
    assert digests(resumed) == digests(run_build("csv", photographs, tmp_path / "fresh", table=TABLE))


def test_no_shard_of_the_first_attempt_is_left(
    photographs: Path, tmp_path: Path, run_build: Run, made: list[str], monkeypatch
):
    """Fewer photographs make fewer shards, under other names."""
    options = {"table": TABLE, "shard_examples": 4}
    cut_off(photographs, tmp_path / "out", run_build, monkeypatch, "write_tables_and_describe", **options)
    assert list((tmp_path / ".out.building" / "records").glob("*.tfrecord"))
    for name in sorted(made)[:6]:
        (photographs / name).write_bytes(b"")
    resumed = run_build("csv", photographs, tmp_path / "out", **options)
    assert verify(resumed) == []
    assert digests(resumed) == digests(run_build("csv", photographs, tmp_path / "fresh", **options))


def test_other_arguments_and_another_directory_are_refused(
    photographs: Path, tmp_path: Path, run_build: Run, made: list[str], monkeypatch, draw
):
    cut_off(photographs, tmp_path / "out", run_build, monkeypatch, table=TABLE)
    with pytest.raises(BuildError, match="image_size: 64 there, 80 now.*rm -r"):
        run_build("csv", photographs, tmp_path / "out", table=TABLE, image_size=80)
    elsewhere = Path(shutil.copytree(photographs, tmp_path / "elsewhere"))
    save(elsewhere, "a/06.bmp", 200, 96, draw)  # perhaps another data set
    with pytest.raises(BuildError, match=f"data_dir: {photographs} there, {elsewhere} now"):
        run_build("csv", elsewhere, tmp_path / "out", table=TABLE)


def test_an_unfinished_build_of_an_earlier_release_goes_on(
    photographs: Path, tmp_path: Path, run_build: Run, made: list[str], monkeypatch
):
    """It noted fractions as they were chosen, and neither the data directory nor what was declared of each item."""
    cut_off(photographs, tmp_path / "out", run_build, monkeypatch, table=TABLE)
    staging = tmp_path / ".out.building"
    note = json.loads((staging / "build.json").read_text(encoding="utf-8"))
    del note["data_dir"]
    note["arguments"] |= {"val_fraction": 0.15, "test_fraction": 0.15}
    (staging / "build.json").write_text(json.dumps(note), encoding="utf-8")
    (staging / FILE).unlink()
    for path in (staging / "spool").glob("*.json"):
        held = json.loads(path.read_text(encoding="utf-8"))
        del held["items"]
        path.write_text(json.dumps(held), encoding="utf-8")
    made.clear()
    resumed = run_build("csv", photographs, tmp_path / "out", table=TABLE)
    assert len(made) == COUNT
    assert digests(resumed) == digests(run_build("csv", photographs, tmp_path / "fresh", table=TABLE))


def test_a_damaged_note_of_the_chunks_loses_nothing(
    photographs: Path, tmp_path: Path, run_build: Run, made: list[str], monkeypatch
):
    cut_off(photographs, tmp_path / "out", run_build, monkeypatch, table=TABLE)
    (tmp_path / ".out.building" / FILE).write_text("[[0", encoding="utf-8")
    made.clear()
    resumed = run_build("csv", photographs, tmp_path / "out", table=TABLE)
    assert made == []
    assert read_manifest(resumed, "dataset")["rejected"] == 0


def items_of(ids: Iterable[str]) -> list[Item]:
    return [Item(one, one, one) for one in sorted(ids)]


def test_chunks_keep_their_ranges(tmp_path: Path):
    before = [f"{number:04d}" for number in range(200)]
    first = Chunks.kept(tmp_path, items_of(before))
    assert [first.size(place) for place in range(len(first))] == [32] * 6 + [8]
    now = [one for one in before if not "0032" <= one < "0064" and one != "0096"] + [f"0100{n:03d}" for n in range(90)]
    again = Chunks.kept(tmp_path, items_of(now))
    sizes = {number: again.size(place) for place, number in enumerate(again.numbers)}
    assert sizes == {0: 32, 1: 0, 2: 32, 3: 32, 7: 32, 8: 32, 9: 25, 4: 32, 5: 32, 6: 8}
    assert [item.image_id for place in range(len(again)) for item in again.part(place)] == sorted(now)
    for index, item in enumerate(again.items):
        number, place = again.find(index)
        assert again.part(list(again.numbers).index(number))[place] is item
    back = Chunks.kept(tmp_path, items_of(before))
    assert {number: back.size(place) for place, number in enumerate(back.numbers) if number in range(3)} == {
        0: 32, 1: 32, 2: 32,
    }  # fmt: skip
