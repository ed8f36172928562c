"""Every Python snippet of the documents runs, in a directory that holds what the quick start leaves there."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import snippets

SHOWN = {page.name: [block for block in snippets.blocks(page) if block.language == "python"] for page in snippets.PAGES}


@pytest.fixture(scope="module")
def after_the_quick_start(tmp_path_factory, stand_in_records: Path, stand_in_run: Path, stand_in_bundle: Path) -> Path:
    """records/, runs/ and bundles/ of the names that the pages use, and a photograph, eye.jpg."""
    from tfrecord_tools.synthetic.draw import draw_fundus

    directory = tmp_path_factory.mktemp("quick_start")
    for folder, made in (("records", stand_in_records), ("runs", stand_in_run), ("bundles", stand_in_bundle)):
        (directory / folder).mkdir()
        for name in ("idrid", "own"):
            (directory / folder / name).symlink_to(made, target_is_directory=True)
    cv2.imwrite(str(directory / "eye.jpg"), cv2.cvtColor(draw_fundus(3, grade=2, size=512).image, cv2.COLOR_RGB2BGR))
    return directory


def test_snippets_are_found() -> None:
    assert all(SHOWN[page] for page in ("README.md", "export.md", "api.md"))


@pytest.mark.parametrize("page", [name for name, shown in SHOWN.items() if shown])
def test_snippets_of_a_page_run_one_after_the_other(page: str, after_the_quick_start: Path) -> None:
    assert not [block for block in SHOWN[page] if block.why_not], "Python needs no network and no phone: let it run"
    for block in SHOWN[page]:
        ast.parse(block.text, filename=block.place)
    script = "\n\n".join(block.text for block in SHOWN[page])
    environment = {"PYTHONPATH": str(snippets.REPOSITORY), "PATH": "/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "2"}
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=after_the_quick_start, capture_output=True, text=True, env=environment
    )
    assert result.returncode == 0, f"{page}: {result.stderr}"
