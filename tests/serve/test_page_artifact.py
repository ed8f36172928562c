"""Which of a bundle's artifacts the page runs, and whose thresholds it goes by: against dr_edge.prediction.bundle."""

from __future__ import annotations

import json
import subprocess

import pytest

from dr_edge.serve.assets import STATIC

PROGRAM = """
import fs from 'node:fs';
const {root, manifest} = JSON.parse(fs.readFileSync(0, 'utf8'));
const {chooseArtifact, manifestOf} = await import(`${root}/engines.js`);
const chosen = chooseArtifact(manifest);
console.log(JSON.stringify({chosen, used: manifestOf(manifest, chosen)}));
"""


def artifact(variant: str, **own: object) -> dict[str, object]:
    return {
        "file": f"model.{variant}.tflite",
        "sha256": "0" * 64,
        "bytes": 1,
        "variant": variant,
        "format": "tflite",
        **own,
    }


@pytest.mark.parametrize(
    ("served", "file", "threshold", "points"),
    [
        ("model.static_int8.tflite", "model.static_int8.tflite", 30.0, []),
        ("model.dynamic_int8.tflite", "model.float32.tflite", 12.0, []),  # browsers do not run that one
        ("model.qat_int8.tflite", "model.qat_int8.tflite", 25.0, ["fine-tuned"]),
    ],
)
def test_thresholds_are_those_of_the_artifact_that_runs(node, served, file, threshold, points):
    manifest = {
        "artifacts": {
            "float32.tflite": artifact("float32", ood={"threshold": 12.0}),
            "dynamic_int8.tflite": artifact("dynamic_int8", ood={"threshold": 22.0}),
            "static_int8.tflite": artifact("static_int8", ood={"threshold": 30.0}),
            "qat_int8.tflite": artifact("qat_int8", ood={"threshold": 25.0}, operating_points=["fine-tuned"]),
        },
        "ood": {"threshold": 13.0},
        "operating_points": [],
        "serve": {"artifact": served},
    }
    data = json.dumps({"root": (STATIC / "js").as_uri(), "manifest": manifest})
    done = subprocess.run(
        [node, "--input-type=module", "--eval", PROGRAM], input=data, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["chosen"]["file"] == file
    assert found["used"]["ood"]["threshold"] == threshold and found["used"]["operating_points"] == points
