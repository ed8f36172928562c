"""Every format of one run, and the oldest runtime that they must still run on."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from dr_edge import metadata, runs
from export import settings
from export.bundle import test_vectors, write
from export.formats import FORMATS
from export.parity import rounding, runtime
from export.photographs import StoredPhotographs
from export.settings import Settings

OLDEST = ("tflite-runtime==2.14.0", "numpy==1.26.4")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def everything(trained_run_dir, tmp_path_factory):
    import gin

    out = tmp_path_factory.mktemp("bundles") / "all"
    with gin.unlock_config():
        gin.bind_parameter("export.qat.epochs", 1)
        gin.bind_parameter("export.qat.batch_size", 8)
        # With 1e-5 three steps lose what the few photographs taught it.
        gin.bind_parameter("export.qat.learning_rate", 1e-6)
    loose = Settings(calibration_images=8, max_auc_drop=dict.fromkeys(settings.MAX_AUC_DROP, 1.0))
    try:
        write.export_run(trained_run_dir, out, ["all"], settings=loose)
    finally:
        gin.clear_config()
    return out


def test_every_format_is_made_and_compared(everything):
    report = metadata.read_manifest(everything, "parity")
    assert report["not_made"] == {}
    assert set(report["artifacts"]) == {fmt.file for fmt in FORMATS.values()}
    for name, row in report["artifacts"].items():
        assert row["max_probability_difference"] < 0.2, name
        assert row["heatmap_correlation"]["median"] > (0.999 if "float" in name else 0.9), name
        assert row["max_quality_difference"] < (0.005 if "float16" in name else 1e-4), name
    assert report["artifacts"]["model.qat_int8.tflite"]["xnnpack"]["partitions"] == 1
    assert report["finetuning"]["epochs"] == 1 and len(report["finetuning"]["validation_loss"]) == 2


def test_every_heat_map_is_that_of_the_network_where_the_answer_is(everything, trained_run_dir):
    """Where 8 bits turn a probability near 0.5 over, the map speaks for that one, and may be the opposite."""
    run = runs.load_run(trained_run_dir)
    given = list(StoredPhotographs(run.records, "test", run.task, 16))
    network = [runtime.open_artifact(everything / "model.float32.tflite")(each) for each in given]
    for file in (fmt.file for fmt in FORMATS.values() if "int" in fmt.name):
        answers = [runtime.open_artifact(everything / file)(each) for each in given]
        pairs = [
            (own["heatmap"].ravel(), other["heatmap"].ravel())
            for own, other in zip(answers, network, strict=True)
            if _same(own, other)
        ]
        assert len(pairs) >= 12, file
        found = [np.corrcoef(*pair)[0, 1] for pair in pairs]
        print(f"{file}: {len(pairs)} answers are the same; the heat maps' correlation is at least {min(found):.3f}")
        assert min(found) > 0.9, file


def _same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one["probabilities"].argmax() == other["probabilities"].argmax()


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


RUN_ALL = textwrap.dedent("""
    import sys
    import numpy as np
    from tflite_runtime.interpreter import Interpreter
    photographs = np.load(sys.argv[1])
    for path in sys.argv[3:]:
        run = Interpreter(model_path=path, num_threads=1).get_signature_runner()
        answers = [{name: np.array(value) for name, value in run(image=each[None]).items()} for each in photographs]
        together = {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}
        np.savez(sys.argv[2] + "/" + path.rsplit("/", 1)[1] + ".npz", **together)
    """)


@pytest.fixture(scope="module")
def listed(everything):
    """([photographs as inputs], [what the Keras graph answers], test_vectors.json) of the test vectors."""
    directory = everything / test_vectors.DIRECTORY
    content = json.loads((directory / "vectors.json").read_text())
    given = [np.load(directory / row["input"]) for row in content["vectors"]]
    answers = [{name: np.load(directory / file) for name, file in row["outputs"].items()} for row in content["vectors"]]
    return given, answers, content


def test_every_tflite_runs_the_same_in_the_oldest_runtime(everything, listed, oldest_python, tmp_path):
    """Its kernels sum and round otherwise, as those of another processor do: within that, the outputs are the same."""
    given, answers, _ = listed
    np.save(tmp_path / "given.npy", np.concatenate(given))
    paths = sorted(everything.glob("model.*.tflite"))
    command = [str(oldest_python), "-c", RUN_ALL, str(tmp_path / "given.npy"), str(tmp_path), *map(str, paths)]
    subprocess.run(command, check=True, timeout=300)
    assert len(paths) == 6
    for path in paths:
        found = np.load(tmp_path / f"{path.name}.npz")
        permitted, moved = (
            test_vectors.floating_tolerances(list(zip(given, answers, strict=True))),
            rounding.spread(path, given),
        )
        for index, photograph in enumerate(given):
            assert bool(moved[index]) == ("int" in path.name)
            own = {name: found[name][index : index + 1] for name in found.files}
            for name, difference in rounding.differences(own, _without_delegate(path, photograph)).items():
                assert difference <= permitted[name] + moved[index].get(name, 0.0), f"{path.name}: {name}"


def _without_delegate(path, photograph: np.ndarray) -> dict[str, np.ndarray]:
    """Runs LiteRT's own kernels, as the oldest runtime does, whose integer rounding differs from XNNPACK's."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=resolver, num_threads=1)
    return {name: np.array(value) for name, value in interpreter.get_signature_runner()(image=photograph).items()}


def _wrong(run, photograph: np.ndarray, others: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """What an app with one fault would get in place of run(photograph)."""
    right = run(photograph)
    return {
        "red and blue swapped": run(np.ascontiguousarray(photograph[..., ::-1])),
        "mirrored": run(np.ascontiguousarray(photograph[:, :, ::-1])),
        "another photograph": run(others),
        "classes swapped": right | {"probabilities": right["probabilities"][:, ::-1]},
        "heat map one cell aside": right | {"heatmap": np.roll(right["heatmap"], 1, axis=2)},
        "heat map upside down": right | {"heatmap": right["heatmap"][:, ::-1]},
        "heat map turned": right | {"heatmap": right["heatmap"].transpose(0, 2, 1)},
    }


def test_stated_tolerances_hold_for_other_kernels_and_for_no_fault(everything, listed):
    given, answers, content = listed
    for file in (fmt.file for fmt in FORMATS.values()):
        runs = [runtime.open_artifact(everything / file)]
        if file.endswith(".tflite"):
            runs.append(functools.partial(_without_delegate, everything / file))
        caught: dict[str, bool] = {}
        for index, (photograph, expected, row) in enumerate(zip(given, answers, content["vectors"], strict=True)):
            permitted = row["tolerances"][file]
            for run in runs:
                for name, difference in rounding.differences(run(photograph), expected).items():
                    assert difference <= permitted[name], f"{file}: {name}"
            for fault, outputs in _wrong(runs[0], photograph, given[index - 1]).items():
                found = rounding.differences(outputs, expected)
                caught[fault] = caught.get(fault, False) or any(found[name] > permitted[name] for name in found)
        assert all(caught.values()), f"{file}: {caught}"
