"""Records that several benchmarks read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGES = 160
SIZE = 224


@pytest.fixture(scope="session")
def synthetic_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of 224 px of 160 drawn fundus images, Graham-normalised, as the builder writes them."""
    directory = tmp_path_factory.mktemp("drawn") / "records"
    command = [
        sys.executable, "-m", "tfrecord_tools.build", "--dataset=synthetic", f"--limit={IMAGES}",
        f"--image_size={SIZE}",
        "--preprocess=graham", f"--out={directory}",
    ]  # fmt: skip
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    return directory
