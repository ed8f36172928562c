"""The page's crop on real photographs, in Node.js, against Python's."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dr_edge.fundus.fov import find_fov
from dr_edge.fundus.gradability import NotFundusError
from dr_edge.fundus.photograph import read_scaled
from dr_edge.serve.assets import STATIC

PROGRAM = """
import fs from 'node:fs';
const {root, input} = JSON.parse(fs.readFileSync(0, 'utf8'));
const {shrunk} = await import(`${root}/crop.js`);
const {findFov, halvings} = await import(`${root}/fov.js`);
console.log(JSON.stringify(input.map(({file, width, height}) => {
  const data = new Uint8Array(fs.readFileSync(file));
  const source = {width, height, rows: (top, bottom) => data.subarray(top * width * 3, bottom * width * 3)};
  const times = halvings(width, height);
  try {
    return findFov(shrunk(source, times), 2 ** times).box;
  } catch (error) {
    if (error.name !== 'NotFundusError') throw error;
    return error.reason;
  }
})));
"""


@pytest.mark.slow
def test_fields_of_view_are_those_of_python(node: str, real_data: Path, tmp_path: Path) -> None:
    found = sorted(path for path in real_data.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".tif"))
    photographs = [path for path in found if "mask" not in path.as_posix().lower() and "odd" not in path.parts]
    chosen = random.Random(7).sample(photographs, min(30, len(photographs))) + [
        path for path in found if "odd" in path.parts
    ]
    cases, expected = [], []
    for index, path in enumerate(chosen):
        try:
            picture, _ = read_scaled(path, min_side=400)
        except ValueError:
            continue  # what cannot be read is the matter of test_page_port_files
        file = tmp_path / f"{index}.rgb"
        file.write_bytes(picture.tobytes())
        cases.append({"file": str(file), "width": picture.shape[1], "height": picture.shape[0]})
        try:
            expected.append(list(find_fov(picture).box))
        except NotFundusError as err:
            expected.append(err.reason)
    data = json.dumps({"root": (STATIC / "js" / "fundus").as_uri(), "input": cases})
    command = [node, "--input-type=module", "--eval", PROGRAM]
    done = subprocess.run(command, input=data, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    ours = json.loads(done.stdout)
    assert len(ours) > 30
    for case, box, other in zip(cases, ours, expected, strict=True):
        if isinstance(other, str):
            assert box == other, case
        else:
            scale = max(1, max(case["width"], case["height"]) / 480)
            assert not isinstance(box, str) and np.abs(np.array(box) - other).max() <= 2 * scale, (case, box, other)
    exact = np.mean([box == other for box, other in zip(ours, expected, strict=True)])
    assert exact > 0.95
