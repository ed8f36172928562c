"""Every format of one run, and the oldest runtime that they must still run on."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from dr_edge import metadata
from export import bundle, settings, vectors
from export.formats import FORMATS
from export.settings import Settings

OLDEST = ("tflite-runtime==2.14.0", "numpy==1.26.4")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def everything(run_dir, tmp_path_factory):
    import gin

    out = tmp_path_factory.mktemp("bundles") / "all"
    with gin.unlock_config():
        gin.bind_parameter("export.qat.epochs", 1)
        gin.bind_parameter("export.qat.batch_size", 8)
    loose = Settings(calibration_images=8, max_auc_drop=dict.fromkeys(settings.MAX_AUC_DROP, 1.0))
    try:
        bundle.export_run(run_dir, out, ["all"], settings=loose)
    finally:
        gin.clear_config()
    return out


def test_every_format_is_made_and_compared(everything):
    report = metadata.read_manifest(everything, "parity")
    assert report["not_made"] == {}
    assert set(report["artifacts"]) == {fmt.file for fmt in FORMATS.values()}
    for name, row in report["artifacts"].items():
        # Weights that nobody trained: 8 bits blur their heat maps more than those of a trained network.
        assert row["max_probability_difference"] < 0.2, name
        assert row["heatmap_correlation"]["median"] > (0.999 if "float" in name else 0.5), name
    assert report["artifacts"]["model.qat_int8.tflite"]["xnnpack"]["partitions"] == 1
    assert report["finetuning"]["epochs"] == 1 and len(report["finetuning"]["validation_loss"]) == 2


@pytest.fixture(scope="module")
def oldest_python(tmp_path_factory):
    """The Python of an environment that holds tflite-runtime 2.14 and the numpy that it needs."""
    if sys.version_info >= (3, 12):
        pytest.skip("tflite-runtime 2.14.0 has no wheel for Python 3.12 and later")
    directory = tmp_path_factory.mktemp("oldest") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True, timeout=120)
    python = directory / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", *OLDEST]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if result.returncode:
        pytest.skip(f"{' '.join(OLDEST)} cannot be installed here: {result.stderr.strip()[-200:]}")
    return python


RUN_ALL = textwrap.dedent(
    """
    import json, sys
    import numpy as np
    from tflite_runtime.interpreter import Interpreter
    given = np.load(sys.argv[1])
    for path in sys.argv[3:]:
        interpreter = Interpreter(model_path=path, num_threads=1)
        outputs = interpreter.get_signature_runner()(image=given)
        np.savez(sys.argv[2] + "/" + path.rsplit("/", 1)[1] + ".npz", **{k: np.array(v) for k, v in outputs.items()})
    """
)


def test_every_tflite_runs_the_same_in_the_oldest_runtime(everything, oldest_python, tmp_path):
    row = json.loads((everything / vectors.DIRECTORY / "vectors.json").read_text())["vectors"][1]
    given = everything / vectors.DIRECTORY / row["input"]
    paths = sorted(everything.glob("model.*.tflite"))
    command = [str(oldest_python), "-c", RUN_ALL, str(given), str(tmp_path), *map(str, paths)]
    subprocess.run(command, check=True, timeout=300)
    assert len(paths) == 6
    for path in paths:
        expected = _without_delegate(path, np.load(given))
        found = np.load(tmp_path / f"{path.name}.npz")
        for name, value in expected.items():
            _assert_same(f"{path.name}: {name}", found[name], value, "int8" in path.name and "dynamic" not in path.name)


def _assert_same(what: str, found: np.ndarray, expected: np.ndarray, integer: bool) -> None:
    """8-bit kernels round otherwise in 2.14 (one step of 1/256 here and there), everything else is equal.

    The maps and distances of a network that nobody trained rest on small differences of small numbers: a step shows.
    """
    if not integer:
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3, err_msg=what)
    elif what.endswith("heatmap"):
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.7, what
    else:
        np.testing.assert_allclose(found, expected, rtol=0.1, atol=4e-3, err_msg=what)


def _without_delegate(path, photograph: np.ndarray) -> dict[str, np.ndarray]:
    """Runs LiteRT's own kernels, as the oldest runtime does, whose integer rounding differs from XNNPACK's."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=resolver, num_threads=1)
    return {name: np.array(value) for name, value in interpreter.get_signature_runner()(image=photograph).items()}
