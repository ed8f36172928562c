"""What is not installed is said in one sentence, with the line that installs it, before anything is done; and what
needs no extra runs without any.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata as distributions
from pathlib import Path

import cv2
import gin
import numpy as np
import pytest

from dr_edge import command, config, extras

REPOSITORY = Path(__file__).resolve().parents[2]
TOP = ("dr_edge", "tfrecord_tools", "export", "android_bench")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TRAIN, NETWORK = "[train]", "TensorFlow and Keras"
# Runs a module as `python -m` does, with modules that cannot be imported.
WITHOUT = (
    "import runpy, sys\n"
    "blocked, module, *arguments = sys.argv[1:]\n"
    "sys.modules.update(dict.fromkeys(filter(None, blocked.split(','))))\n"
    "sys.argv = [module, *arguments]\n"
    "runpy.run_module(module, run_name='__main__', alter_sys=True)\n"
)


def without(blocked: str, module: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", WITHOUT, blocked, module, *arguments]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=300)


def name(requirement: str) -> str:
    return re.split(r"[\[<>=!;, ]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def brought(extra: str) -> set[str]:
    """Returns the distributions that an extra brings, those of the extras in it too."""
    found = set()
    for requirement in PROJECT["optional-dependencies"][extra]:
        if name(requirement) == "dr-edge":
            inner = re.search(r"\[(.*)\]", requirement)
            found |= {one for part in inner[1].split(",") for one in brought(part)}
        else:
            found.add(name(requirement))
    return found


BASE = {name(requirement) for requirement in PROJECT["dependencies"]}
RUNS = ("--run_dir=run", "--out=out")
COMMANDS = [
    ("dr_edge.train", ["--gin_file=demo.gin"], "train", "tensorflow,keras,sklearn", NETWORK, TRAIN),
    ("dr_edge.train", ["--gin_file=demo.gin"], "train", "keras", "Keras", TRAIN),
    ("dr_edge.train", ["--gin_file=demo.gin"], "train", "scipy,sklearn", "SciPy and scikit-learn", TRAIN),
    ("dr_edge.evaluate", ["--run_dir=run"], "evaluate", "tensorflow,keras", NETWORK, TRAIN),
    ("dr_edge.evaluate", ["compare", "a", "b"], "compare", "sklearn", "scikit-learn", TRAIN),
    ("dr_edge.explain", ["--images=x", *RUNS], "explain", "tensorflow,keras", NETWORK, TRAIN),
    ("dr_edge.explain", ["--images=x", *RUNS], "explain", "tf_keras_vis", "tf-keras-vis", TRAIN),
    ("export", [*RUNS], "export", "tensorflow,keras", NETWORK, TRAIN),
    ("export", [*RUNS], "export", "tf2onnx", "tf2onnx", TRAIN),
    ("export", ["--formats=qat_int8", *RUNS], "qat_int8", "tf_keras", "tf_keras", "[qat]"),
    ("export", ["--sign=key.pem", *RUNS], "--sign", "cryptography", "cryptography", "[sign]"),
    ("dr_edge.predict", ["--bundle=hf://a/b", f"--bundle_sha256={'0' * 64}", "--require_signature=key.pem", "eye.jpg"],
     "--require_signature", "cryptography", "cryptography", "[sign]"),
    ("dr_edge.demo", ["--out=out"], "demo", "tensorflow,keras", NETWORK, TRAIN),
    ("dr_edge.tune", ["--gin_file=demo.gin", "--run_dir=out"], "tune", "optuna", "Optuna", "[tune]"),
    ("dr_edge.tune", ["--gin_file=demo.gin", "--run_dir=out"], "tune", "optuna,keras", "Optuna and Keras", "[tune]"),
    ("dr_edge.serve", ["--bundle=x"], "serve", "uvicorn", "uvicorn", "[serve]"),
    ("dr_edge.models", ["--measure"], "models --measure", "tensorflow,keras", NETWORK, TRAIN),
    ("tfrecord_tools.disc_region", ["--records=x", *RUNS], "disc_region", "tensorflow,keras", NETWORK, TRAIN),
    ("tfrecord_tools.build", ["--dataset=synthetic", "--out=out", "--runner=DirectRunner"],
     "--runner=DirectRunner", "apache_beam", "Apache Beam", "[beam]"),
    ("tfrecord_tools.build", ["--dataset=synthetic", "--out=out", "--runner=DaskRunner"],
     "--runner=DaskRunner", "distributed", "Dask distributed", "[dask]"),
    ("tfrecord_tools.inspect", ["records", "--out=out.png"], "--out=out.png", "matplotlib", "Matplotlib", "[bench]"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "arguments", "who", "blocked", "wanted", "extra"), COMMANDS)
def test_a_command_says_the_line_before_anything_else(module, arguments, who, blocked, wanted, extra, tmp_path):
    done = without(blocked, module, *arguments, cwd=tmp_path)
    said = f'error: {who} needs {wanted}: pip install "dr_edge{extra}"'
    assert done.stderr.startswith(said) and done.stderr.count("\n") == 1, done.stderr
    assert done.returncode == 1 and done.stdout == "" and not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", sorted({row[0] for row in COMMANDS} | {"dr_edge.predict", "android_bench"}))
def test_help_needs_no_extra(module, tmp_path):
    done = without(",".join(extras.PACKAGES), module, "--help", cwd=tmp_path)
    assert done.returncode == 0 and "python -m" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("bindings", "who", "module"),
    [
        (["train.wandb_project = 'x'"],
         'train.wandb_project needs Weights & Biases: pip install "dr_edge[wandb]"', "wandb"),
        (["train.model = @models.classifier", "models.classifier.architecture = 'vit_b16'"],
         'vit_b16 needs keras-hub: pip install "dr_edge[vit]"', "keras_hub"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("clean_gin")
def test_what_a_gin_file_asks_for_is_said_before_records_are_read(bindings, who, module, monkeypatch):
    config.import_names()
    config.parse([], bindings)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(extras.Missing, match=re.escape(who)):
        config.require_extras()
    gin.clear_config()
    config.parse([], ["models.classifier.architecture = 'vit_b16'"])  # bound, and of another model than is trained
    config.require_extras()


@pytest.mark.parametrize(("ending", "shown", "module"), [("xlsx", "openpyxl", "openpyxl"), ("xls", "xlrd", "xlrd")])
def test_a_workbook_says_what_reads_it(ending, shown, module, monkeypatch, tmp_path):
    from tfrecord_tools import layout
    from tfrecord_tools.own_data import workbook

    monkeypatch.setitem(sys.modules, module, None)
    path = tmp_path / f"labels.{ending}"
    head = workbook.XLSX_HEAD if ending == "xlsx" else workbook.XLS_HEAD
    for read in (lambda: workbook.read_workbook(head, path), lambda: layout.read_spreadsheet(path)):
        with pytest.raises(ValueError, match=rf'labels.{ending} needs {shown}: pip install "dr_edge\[train\]"'):
            read()


def test_a_palette_mask_says_what_reads_it_and_is_not_left_out(monkeypatch):
    from tfrecord_tools import mask_levels

    palette = bytes.fromhex("000000ff00000000ff") + bytes(750)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(extras.Missing, match=r'A palette PNG needs Pillow: pip install "dr_edge\[train\]"'):
        mask_levels.read_levels(_palette_png(palette), 10**6)


def _palette_png(palette: bytes) -> bytes:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 64, 64, 8, 3, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + bytes([row % 3] * 64) for row in range(64)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"PLTE", palette) + chunk(b"IDAT", pixels) + chunk(
        b"IEND", b"")  # fmt: skip


def test_a_package_that_an_import_misses_is_named_with_its_extra():
    missing = ModuleNotFoundError("No module named 'keras'", name="keras.ops")
    assert command.words(missing).endswith('Install it: pip install "dr_edge[train]"')


def test_a_blocked_import_counts_as_missing(monkeypatch):
    class Blocker:
        def find_spec(self, fullname, path=None, target=None):
            if fullname == "wandb":
                raise ImportError(fullname)

    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Blocker(), *sys.meta_path])
    assert extras.missing("train.wandb_project") == ["wandb"]


def test_each_extra_brings_what_the_code_says():
    provided = distributions.packages_distributions()
    for module, (_, extra) in extras.PACKAGES.items():
        names = {name(one) for one in provided.get(module, [module])}
        assert names & brought(extra), f"{module}: [{extra}] does not bring {names}"
    for who, modules in extras.NEEDS.items():
        for place, first in enumerate(modules):
            extra = extras.PACKAGES[first][1]
            for module in modules[place:]:
                names = {name(one) for one in provided.get(module, [module])}
                assert names & (brought(extra) | BASE), f"{who}: [{extra}] does not bring {module}"


def test_all_holds_every_extra_but_those_of_builders_and_gpus():
    optional = PROJECT["optional-dependencies"]
    inside = {part for one in optional["all"] for part in re.search(r"\[(.*)\]", one)[1].split(",")}
    assert inside == set(optional) - {"all", "dev", "docs", "gpu"}
    assert brought("serve") <= BASE, "the server belongs to the light installation"


def test_every_import_is_declared():
    """Of the light installation, or in the table that says which extra brings it."""
    provided = distributions.packages_distributions()
    undeclared = set()
    for path in (path for top in TOP for path in (REPOSITORY / top).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for module in {full.partition(".")[0] for full in names} - set(sys.stdlib_module_names) - set(TOP):
                if module not in extras.PACKAGES and not {name(one) for one in provided.get(module, [module])} & BASE:
                    undeclared.add(f"{module} in {path.relative_to(REPOSITORY)}")
    assert not undeclared


def photograph(path: Path) -> str:
    picture = np.zeros((300, 300, 3), np.uint8)
    cv2.circle(picture, (150, 150), 140, (60, 90, 170), -1)
    noise = np.random.default_rng(0).normal(0, 6, picture.shape)
    cv2.imwrite(str(path), np.clip(picture + noise, 0, 255).astype(np.uint8))
    return str(path)


BUT_THE_SERVER = ",".join(module for module, (_, extra) in extras.PACKAGES.items() if extra != "serve")


def test_without_any_extra_a_bundle_answers(stand_in_bundle, tmp_path):
    eye = photograph(tmp_path / "eye.png")
    done = without(BUT_THE_SERVER, "dr_edge.predict", f"--bundle={stand_in_bundle}", eye, cwd=tmp_path)
    assert done.returncode == 0 and len(json.loads(done.stdout)["answers"]) == 1, done.stderr


def test_without_any_extra_it_is_measured_and_what_was_not_is_said(stand_in_bundle, tmp_path):
    quick = ("--sessions=1", "--runs=2", "--min_secs=0", "--warmup_secs=0", "--warmup_runs=1", "--delegates=none")
    done = without(
        BUT_THE_SERVER, "android_bench", f"--bundle={stand_in_bundle}", "--target=host", "--out=bench", *quick,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'no plots. Drawing them needs Matplotlib: pip install "dr_edge[bench]"' in done.stderr
    assert "No plots were drawn." in (tmp_path / "bench" / "bench.md").read_text()
    assert not list((tmp_path / "bench").glob("*.png"))
    rows = json.loads((tmp_path / "bench" / "bench.json").read_text())["rows"]
    assert [row["status"] for row in rows if row["artifact"]["format"] == "tflite"] == ["ok", "ok"]


def test_an_onnx_artifact_without_its_runtime_has_a_reason_and_no_figure(monkeypatch):
    from android_bench import host, matrix
    from android_bench.bundle import Artifact

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    artifact = Artifact("float32.onnx", Path("model.float32.onnx"), "float32", "onnx", "0" * 64, 1, {})
    cell = matrix.build([artifact], [1], ["none"], [""])
    reason = host._impossible(cell[0])
    assert reason == 'An ONNX artifact needs ONNX Runtime: pip install "dr_edge[bench]"'


def test_without_any_extra_records_are_built_and_verified(tmp_path):
    build = ("--dataset=synthetic", "--limit=12", "--image_size=48", "--out=records", "--workers=1")
    for module, arguments in (
        ("tfrecord_tools.build", build),
        ("tfrecord_tools.verify", ["records"]),
        ("tfrecord_tools.inspect", ["records"]),
    ):
        done = without(BUT_THE_SERVER, module, *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_without_any_extra_the_server_answers(stand_in_bundle, tmp_path):
    """Through a worker of its own; tests/serve has the rest."""
    program = (
        "import sys; sys.modules.update(dict.fromkeys(sys.argv[1].split(',')))\n"
        "from starlette.testclient import TestClient\n"
        "from dr_edge.prediction.bundle import open_bundle\n"
        "from dr_edge.serve.app import create_app\n"
        "from dr_edge.serve.settings import Settings\n"
        "with TestClient(create_app(open_bundle(sys.argv[2]), Settings(workers=1)), 'http://localhost') as client:\n"
        "    answer = client.post('/v1/predict', files={'image': open(sys.argv[3], 'rb')})\n"
        "print('answers', answer.status_code)\n"
    )
    line = [sys.executable, "-c", program, BUT_THE_SERVER, str(stand_in_bundle), photograph(tmp_path / "eye.png")]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "answers 200", done.stderr
