"""The wheel works where no checkout is: it holds what the code opens, and the chain runs in an empty directory."""

from __future__ import annotations

import email
import json
import os
import shlex
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dr_edge import extras, gin_files

REPOSITORY = Path(__file__).resolve().parents[2]
TOP = ("dr_edge", "tfrecord_tools", "export", "android_bench")
MADE_HERE = ("__pycache__", "vendor", "node_modules", ".DS_Store")  # what .gitignore names
# Notes each file of the checkout that a process opens or runs; the environment of the tests may lie in it.
WATCH = """
import os, sys
def _note(event, arguments, root={root!r}, allowed={allowed!r}, log={log!r}):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        if path.startswith(root) and not path.startswith(allowed):
            with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "a") as file:
                file.write(path + "\\n")
sys.addaudithook(_note)
"""
# Opens what a run in an empty directory would: every gin file with its includes, every template, the page, its docs.
READ_ALL = """
import json, os, pathlib, sys
import android_bench, dr_edge, export, tfrecord_tools
from dr_edge import config, gin_files
from dr_edge.drawing import html
from dr_edge.evaluation import report
from dr_edge.evaluation.masks import report as mask_report
from dr_edge.explanation import page
from dr_edge.serve import assets, docs, startup, vendor
from dr_edge.tuning import trials
config.import_names()
import gin
for name in gin_files.shipped():
    gin.clear_config()
    bindings = ["train.initial_weights = 'a'"] if "second_stage" in name else []
    config.parse([os.path.basename(name)], bindings)
root = pathlib.Path(dr_edge.__file__).parents[1]
for path in root.rglob("*.j2"):
    environment = html.environment(path.parent)
    environment.loader.get_source(environment, path.name)
assert startup.NGINX.read_text() and (assets.STATIC / "index.html").read_text()
vendor.problems()
print(json.dumps([module.__file__ for module in (android_bench, dr_edge, export, tfrecord_tools)]))
"""


@pytest.fixture(scope="session")
def wheel(made_once: Callable) -> Path:
    def make(directory: Path) -> None:
        line = [sys.executable, "-m", "hatchling", "build", "-d", str(directory)]
        done = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    return next(made_once("dist", make).glob("*.whl"))


def files_of(folder: Path) -> set[str]:
    """Returns the files below a folder of the checkout, relative to the checkout."""
    found = (path for path in folder.rglob("*") if path.is_file() and not set(MADE_HERE) & set(path.parts))
    return {path.relative_to(REPOSITORY).as_posix() for path in found}


def test_the_wheel_holds_every_file_of_the_packages_and_the_gin_files(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {name for top in TOP for name in files_of(REPOSITORY / top)}
    expected |= {f"dr_edge/{name}" for name in files_of(REPOSITORY / "gin_configs")}
    assert held == expected
    assert {f"{top}/py.typed" for top in TOP} <= held
    assert {f"dr_edge/{name}" for name in gin_files.shipped()} <= held


def test_the_wheel_says_what_it_is(wheel):
    archive = zipfile.ZipFile(wheel)
    described = next(name for name in archive.namelist() if name.endswith("/METADATA"))
    found = email.message_from_bytes(archive.read(described))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert found["Author"] == "dr_edge maintainers" and found["License-Expression"] == "Apache-2.0"
    assert set(found.get_all("Provides-Extra")) == {name.replace("_", "-") for name in project["optional-dependencies"]}
    assert found["Requires-Python"] == ">=3.11" and "Typing :: Typed" in found.get_all("Classifier")


def test_the_sdist_holds_what_the_wheel_and_the_tests_are_made_of_and_nothing_that_lies_around(wheel):
    with tarfile.open(next(wheel.parent.glob("*.tar.gz"))) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    for folder in (*TOP, "gin_configs", "tests", "docs", ".github"):
        assert files_of(REPOSITORY / folder) <= held
    tops = {name.partition("/")[0] for name in held}
    allowed = {*TOP, "gin_configs", "tests", "docs", ".github", "pyproject.toml", "constraints.txt", "LICENSE"}
    allowed |= {"README.md", "BUILD.md", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "Makefile", "mkdocs.yml"}
    assert tops <= allowed | {".gitignore", "PKG-INFO"}


def test_the_sdist_makes_the_same_wheel(wheel, tmp_path):
    with tarfile.open(next(wheel.parent.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    source = next(tmp_path.iterdir())
    line = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(line, cwd=source, capture_output=True, check=True)
    again = zipfile.ZipFile(next((tmp_path / "dist").glob("*.whl")))
    sums = [{entry.filename: entry.CRC for entry in archive.infolist()} for archive in (zipfile.ZipFile(wheel), again)]
    assert sums[0] == sums[1]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """An empty working directory."""
    place = tmp_path / "empty"
    place.mkdir()
    return place


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")} | more


def watch(folder: Path, log: Path) -> None:
    """Leaves a sitecustomize.py in `folder`, by which processes note in `log` what they open of the checkout."""
    packages = os.path.realpath(sysconfig.get_path("purelib"))
    program = WATCH.format(root=f"{REPOSITORY}{os.sep}", allowed=packages, log=str(log))
    (folder / "sitecustomize.py").write_text(program)


def check_watch(python: str | Path, log: Path, **more: str) -> None:
    """Fails where the watch is asleep."""
    line = [python, "-c", f"open({str(REPOSITORY / 'README.md')!r})"]
    subprocess.run(line, env=environment(**more), check=True)
    assert log.read_text() == f"{REPOSITORY / 'README.md'}\n"
    log.unlink()


def test_all_that_a_command_may_open_is_found_without_the_checkout(wheel, outside, tmp_path):
    unpacked, log = tmp_path / "unpacked", tmp_path / "opened"
    zipfile.ZipFile(wheel).extractall(unpacked)
    watch(unpacked, log)
    check_watch(sys.executable, log, PYTHONPATH=str(unpacked))
    line = [sys.executable, "-c", READ_ALL]
    done = subprocess.run(line, cwd=outside, env=environment(PYTHONPATH=str(unpacked)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert all(Path(file).is_relative_to(unpacked) for file in json.loads(done.stdout.splitlines()[-1]))
    assert not log.exists(), log.read_text()


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """A new environment with the wheel; what [train] brings is installed with DR_EDGE_CI, else lent by this one."""
    place = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = place / "bin" / "python"
    whole = bool(os.environ.get("DR_EDGE_CI"))
    everything = [f"{wheel}[train]", "--constraint", str(REPOSITORY / "constraints.txt")]
    what = everything if whole else ["--no-deps", str(wheel)]
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *what]
    done = subprocess.run(install, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    packages = next((place / "lib").glob("python*/site-packages"))
    if not whole:
        _lend(packages)
    watch(packages, tmp_path / "opened")
    return place / "bin"


def _lend(packages: Path) -> None:
    """Lets an environment see the packages of this one; .pth files in them, which lead to a checkout, are not read."""
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")


def test_the_line_that_brings_an_extra_works_where_a_wheel_was_installed(wheel, tmp_path):
    """No index is asked for dr_edge: pip reads the extra's packages, here lent ones, from the installed wheel."""
    place = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install", "--no-index"]
    subprocess.run([*pip, "--quiet", "--no-deps", str(wheel)], check=True, env=environment())
    _lend(next((place / "lib").glob("python*/site-packages")))
    line = shlex.split(extras.install("dicom"))[2:]
    done = subprocess.run([*pip, "--dry-run", *line], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"already satisfied: {line[0]} in {place}" in done.stdout
    assert "already satisfied: pydicom" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)  # with DR_EDGE_CI it installs TensorFlow
def test_the_whole_chain_runs_from_an_installed_wheel_in_an_empty_directory(installed, outside, tmp_path):
    where = subprocess.run(
        [installed / "python", "-c", "import dr_edge; print(dr_edge.__file__)"], cwd=outside, env=environment(),
        capture_output=True, text=True,
    )  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(tmp_path), where.stderr
    check_watch(installed / "python", tmp_path / "opened")
    command = [installed / "dr-edge", "demo", "--out=demo", "--images=600", "--image_size=96"]
    done = subprocess.run(command, cwd=outside, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (outside / "demo" / "report.html").is_file()
    picture = next((outside / "demo" / "bundle" / "test_vectors").rglob("*.png"))
    answer = subprocess.run(
        [installed / "dr-edge", "predict", "--bundle=demo/bundle", picture], cwd=outside, env=environment(),
        capture_output=True, text=True,
    )  # fmt: skip
    assert answer.returncode == 0 and len(json.loads(answer.stdout)["answers"]) == 1, answer.stderr
    log = tmp_path / "opened"
    assert not log.exists(), log.read_text()
