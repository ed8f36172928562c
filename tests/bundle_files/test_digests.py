"""bundle.sha256: a byte that was changed in any file of a bundle is seen, and the bundle is not used."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import subprocess

import pytest
from resealed import reseal

from dr_edge import metadata
from dr_edge.bundle_files import digests
from dr_edge.bundle_files.read import read_bundle
from export.bundle.write import export_run

LIST = "bundle.sha256"


def files(bundle):
    return sorted(path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file())


def flip(path, place=None):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if place is None else place] ^= 1
    path.write_bytes(data)


def test_the_list_is_sha256sums_own_and_of_every_file(bundle):
    done = subprocess.run(["sha256sum", "-c", "--strict", LIST], cwd=bundle, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert sorted(line.removesuffix(": OK") for line in done.stdout.splitlines()) == sorted(set(files(bundle)) - {LIST})
    listed = dict(reversed(line.split("  ")) for line in (bundle / LIST).read_text().splitlines())
    content = json.loads((bundle / "metadata.json").read_text())
    assert listed == content["files"] | {"metadata.json": metadata.sha256_file(bundle / "metadata.json")}
    assert content["digests"] == LIST and "README.md" in listed and "test_vectors/vectors.json" in listed


def test_a_changed_bit_in_any_file_is_refused(bundle, tmp_path, caplog):
    """Every file one by one; of README.md, which the hub's editor may have changed, it is said."""
    assert read_bundle(bundle) and len(files(bundle)) > 15
    for name in files(bundle):
        copy = shutil.copytree(bundle, tmp_path / "copy")
        flip(copy / name)
        caplog.clear()
        if name == "README.md":
            read_bundle(copy)
            assert "README.md was changed after the bundle was exported; no answer depends on it" in caplog.text
        else:
            with pytest.raises(metadata.ManifestError) as caught:
                read_bundle(copy)
            said = str(caught.value)
            assert str(copy) in said and (name in said or name in (LIST, "metadata.json")), (name, said)
        shutil.rmtree(copy)


@pytest.mark.parametrize("name", ["metadata.json", "model.float32.tflite", "model.float16.tflite", "MODEL_CARD.md"])
def test_all_who_open_a_bundle_see_it(bundle, read, name):
    assert read(bundle)
    with open(bundle / name, "ab") as file:
        file.write(b"\n")
    with pytest.raises(metadata.ManifestError, match=rf"{name}: sha256 \w+\.\.\. differs from"):
        read(bundle)


def test_names_that_were_swapped_are_seen(bundle, read):
    """No schema can see it: the same names, the other way round."""
    content = json.loads((bundle / "metadata.json").read_text())
    task = content["task"]
    task["class_names"].reverse()
    (bundle / "metadata.json").write_text(json.dumps(content, indent=2))
    with pytest.raises(metadata.ManifestError, match=r"metadata\.json: sha256 .* It was changed after it was exported"):
        read(bundle)


def test_a_list_that_was_removed_is_missed(bundle, read):
    (bundle / LIST).unlink()
    with pytest.raises(metadata.ManifestError, match=r"bundle\.sha256 is missing, although metadata\.json says"):
        read(bundle)


def test_an_older_bundle_is_read_with_a_caution(bundle, read, caplog):
    content = json.loads((bundle / "metadata.json").read_text())
    del content["digests"]
    (bundle / "metadata.json").write_text(json.dumps(content))
    (bundle / LIST).unlink()
    (bundle / "MODEL_CARD.md").write_text("# Edited by its owner, as one could\n")
    with caplog.at_level(logging.WARNING):
        assert read(bundle)
    assert "has no bundle.sha256: an earlier release exported it" in caplog.text
    flip(bundle / "model.float32.tflite")
    with pytest.raises(metadata.ManifestError, match=r"model\.float32\.tflite: sha256 .* differs"):
        read(bundle)


def test_an_older_bundle_can_be_protected_by_hand(bundle, caplog):
    content = json.loads((bundle / "metadata.json").read_text())
    del content["digests"]
    (bundle / "metadata.json").write_text(json.dumps(content))
    (bundle / LIST).unlink()
    subprocess.run(f"find . -type f | xargs sha256sum > ../{LIST}; mv ../{LIST} .", cwd=bundle, shell=True, check=True)
    assert read_bundle(bundle) and not caplog.text
    (bundle / "metadata.json").write_text(json.dumps(content | {"warning": "all is well"}))
    with pytest.raises(metadata.ManifestError, match="changed after it was exported"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "", "line 1 is no line of sha256sum"),
        (lambda text: "\xff\n", "no text"),
        (lambda text: text.replace("\n", "\r\n"), "line 1 is no line of sha256sum"),
        (lambda text: text + text.splitlines()[0] + "\n", "twice"),
        (lambda text: text + "0" * 64 + "  ../elsewhere\n", r"do not say the same of \.\./elsewhere"),
        (lambda text: "".join(text.splitlines(True)[1:]), "do not say the same of MODEL_CARD.md"),
        (
            lambda text: "".join(line for line in text.splitlines(True) if "metadata" not in line),
            "differs from none in",
        ),
        (lambda text: text.upper(), "no line of sha256sum"),
        (lambda text: "x" * (digests.LIMIT + 1), "larger than 4 MB"),
    ],
)
def test_a_list_that_is_none_is_refused(bundle, change, said):
    path = bundle / LIST
    path.write_bytes(change(path.read_text()).encode("latin-1"))
    with pytest.raises(metadata.ManifestError, match=said):
        read_bundle(bundle)


def test_a_bundle_may_move_grow_and_lack_what_nobody_reads(bundle, read, tmp_path):
    moved = tmp_path / "elsewhere" / "ñ 眼 #1"
    moved.parent.mkdir()
    bundle.rename(moved)
    (moved / "LICENSE").write_text("of the weights\n")
    (moved / ".gitattributes").write_text("* -text\n")
    shutil.rmtree(moved / "test_vectors")
    (moved / "README.md").unlink()
    assert read(moved)


def test_accuracies_that_somebody_put_there_are_not_read(bundle):
    """parity.json of another bundle, beside a metadata.json that lists none."""
    import android_bench.bundle

    assert android_bench.bundle.read_bundle(bundle).artifacts[0].accuracy["auc"] > 0
    content = json.loads((bundle / "metadata.json").read_text())
    del content["files"]["parity.json"]
    reseal(bundle, content)
    assert not android_bench.bundle.read_bundle(bundle).artifacts[0].accuracy


def test_a_bundle_is_not_exported_over_another(bundle, stand_in_run):
    before = {name: hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in files(bundle)}
    with pytest.raises(FileExistsError):
        export_run(stand_in_run, bundle, ("float32",))
    assert before == {name: hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in files(bundle)}
