"""The commands of the README and of the quick start, run as they stand, on drawn photographs in place of your own."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import snippets
from snippets import REPOSITORY

from dr_edge.subcommands import SUBCOMMANDS

# Minutes in place of hours, and no download: added to the command behind what the page says.
SHORTER = {
    "build": ["--image_size=96"],
    "train": [
        "--gin_param=backbones.mobilenet_v2.weights = None",
        "--gin_param=train.epochs = 2",
        "--gin_param=HEAD_EPOCHS = 1",
        "--gin_param=train.batch_size = 8",
    ],
    # An untrained network may lose any ranking to 8 bits.
    "export": [
        "--gin_param=export.settings.max_auc_drop = 1.0",
        "--gin_param=export.settings.max_graph_auc_drop = 1.0",
    ],
    "bench": ["--sessions=1", "--min_secs=0.1", "--warmup_secs=0.1"],
}


def shown(page: str, heading: str) -> list[tuple[str, ...]]:
    """Returns the commands of the shell blocks below a heading of a page, up to the next one."""
    path = REPOSITORY / page
    lines = path.read_text(encoding="utf-8").splitlines()
    first = lines.index(heading)
    last = next((i for i, line in enumerate(lines) if i > first and line.startswith("## ")), len(lines))
    blocks = [block for block in snippets.blocks(path) if first < int(block.place.rpartition(":")[2]) <= last]
    lines = [line for block in blocks if block.language == "bash" for line in snippets.command_lines(block.text)]
    return [snippets.command(page, line, True).words for line in lines]


def run(directory: Path, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Runs a `dr-edge` command in a directory, where gin_configs/ is found as in a checkout."""
    assert words[0] == "dr-edge" and words[1] in SUBCOMMANDS, words
    command = [sys.executable, "-m", "dr_edge", *words[1:], *SHORTER.get(words[1], [])]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "2"}
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, f"{shlex.join(command)}\n{result.stdout[-2000:]}{result.stderr[-3000:]}"
    return result


def draw_folders(directory: Path) -> None:
    """Draws PHOTOGRAPHS/normal and PHOTOGRAPHS/sick, a patient each, eye.jpg and more/."""
    from tfrecord_tools.synthetic.draw import draw_fundus

    def save(path: Path, seed: int, grade: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), cv2.cvtColor(draw_fundus(seed, grade=grade, size=256).image, cv2.COLOR_RGB2BGR))

    for index in range(60):
        for name, grade in (("normal", 0), ("sick", 4)):
            save(directory / "PHOTOGRAPHS" / name / f"{name}{index:03d}.jpg", 2 * index + (grade > 0), grade)
    save(directory / "eye.jpg", 900, 4)
    save(directory / "more" / "other.jpg", 901, 0)


@pytest.mark.slow
def test_the_readme_leads_from_folders_to_answers(tmp_path: Path) -> None:
    draw_folders(tmp_path)
    commands = [words for words in shown("README.md", "## On your own photographs") if words[0] != "."]
    assert [words[1] for words in commands] == ["build", "train", "evaluate", "export", "predict"]
    built = run(tmp_path, commands[0]).stdout
    (printed,) = [
        block.text for block in snippets.blocks(REPOSITORY / "docs/quickstart.md") if block.language == "text"
    ]
    assert all(line in built for line in printed.splitlines()), built
    for words in commands[1:-1]:
        run(tmp_path, words)
    answers = json.loads(run(tmp_path, commands[-1]).stdout)
    assert answers["photographs"] == len(answers["answers"]) == 2
    assert list((tmp_path / "pictures").iterdir())


def test_answers_and_latency_of_a_bundle(tmp_path: Path, stand_in_bundle: Path) -> None:
    """The last commands of the quick start, on a bundle that was made before."""
    draw = draw_one(tmp_path)
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "idrid").symlink_to(stand_in_bundle, target_is_directory=True)
    commands = shown("docs/quickstart.md", "## A published data set") + shown("docs/quickstart.md", "## Answers")
    by_name = {words[1]: words for words in commands if words[0] == "dr-edge"}
    assert draw.name in by_name["predict"]
    run(tmp_path, by_name["predict"])
    assert list((tmp_path / "pictures").iterdir())
    run(tmp_path, by_name["bench"])
    assert (tmp_path / "bundles" / "idrid-bench" / "bench.md").is_file()


def draw_one(directory: Path) -> Path:
    from tfrecord_tools.synthetic.draw import draw_fundus

    (directory / "more").mkdir()
    image = cv2.cvtColor(draw_fundus(5, grade=2, size=512).image, cv2.COLOR_RGB2BGR)
    for path in (directory / "eye.jpg", directory / "more" / "other.jpg"):
        assert cv2.imwrite(str(path), image)
    return directory / "eye.jpg"
