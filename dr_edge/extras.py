"""Which packages a command needs beyond the light installation, and which extra of dr_edge brings them.

`pip install dr_edge` answers photographs, serves, measures and builds records of pictures; TensorFlow and the rest of
training are extras (pyproject.toml). A command calls `require` before it does anything, so that what is missing is one
sentence with the line that installs it:

  extras.require("train")
  # train needs TensorFlow and Keras: pip install "dr_edge[train]"

Standard library only; nothing is imported to find out whether it is there.
"""

from __future__ import annotations

import importlib.util

# Module: how the package is called, and the extra that brings it. What needs an extra and [train] has both in one.
PACKAGES = {
    "tensorflow": ("TensorFlow", "train"),
    "keras": ("Keras", "train"),
    "sklearn": ("scikit-learn", "train"),
    "scipy": ("SciPy", "train"),
    "tf_keras_vis": ("tf-keras-vis", "train"),
    "onnx": ("onnx", "train"),
    "tf2onnx": ("tf2onnx", "train"),
    "flatbuffers": ("FlatBuffers", "train"),
    "openpyxl": ("openpyxl", "train"),
    "xlrd": ("xlrd", "train"),
    "PIL": ("Pillow", "train"),
    "yaml": ("PyYAML", "train"),
    "onnxruntime": ("ONNX Runtime", "bench"),
    "matplotlib": ("Matplotlib", "bench"),
    "optuna": ("Optuna", "tune"),
    "sqlalchemy": ("SQLAlchemy", "tune"),
    "apache_beam": ("Apache Beam", "beam"),
    "dask": ("Dask", "dask"),
    "distributed": ("Dask distributed", "dask"),
    "wandb": ("Weights & Biases", "wandb"),
    "pydicom": ("pydicom", "dicom"),
    "pi_heif": ("pi-heif", "heic"),
    "cryptography": ("cryptography", "sign"),
    "keras_hub": ("keras-hub", "vit"),
    "tensorflow_model_optimization": ("tensorflow_model_optimization", "qat"),
    "tf_keras": ("tf_keras", "qat"),
    "fastapi": ("FastAPI", "serve"),
    "starlette": ("Starlette", "serve"),
    "uvicorn": ("uvicorn", "serve"),
    "python_multipart": ("python-multipart", "serve"),
    "prometheus_client": ("prometheus-client", "serve"),
}
_NETWORK = ("tensorflow", "keras", "scipy", "sklearn")
# Who needs what: a command, or what it was asked for. The extra of the first module that is missing is the one to
# install, and brings the others.
NEEDS = {
    "train": _NETWORK,
    "evaluate": (*_NETWORK, "tf_keras_vis"),
    "compare": ("sklearn",),
    "explain": (*_NETWORK, "tf_keras_vis"),
    "export": (*_NETWORK, "tf_keras_vis", "onnx", "tf2onnx", "yaml", "onnxruntime"),
    "disc_region": _NETWORK,
    "demo": (*_NETWORK, "tf_keras_vis", "onnx", "tf2onnx", "yaml", "onnxruntime", "matplotlib"),
    "tune": ("optuna", "sqlalchemy", *_NETWORK, "matplotlib"),
    "serve": ("fastapi", "starlette", "uvicorn", "python_multipart", "prometheus_client"),
    "qat_int8": ("tensorflow_model_optimization", "tf_keras"),
    "vit_b16": ("keras_hub",),
    "train.wandb_project": ("wandb",),
    "--runner": ("apache_beam",),
    "--runner=DaskRunner": ("dask", "distributed", "apache_beam"),
    "--out": ("matplotlib",),
    "--sign": ("cryptography",),
    "--require_signature": ("cryptography",),
    "ONNX": ("onnxruntime",),
    "plots": ("matplotlib",),
    ".xls": ("xlrd",),
    ".xlsx": ("openpyxl",),
    "A palette PNG": ("PIL",),
}
_NAMED = 2  # more names say no more: one line installs them all


class Missing(ImportError, RuntimeError):
    """A package is not installed; the message holds the line that installs it."""


def install(extra: str) -> str:
    """Returns the line that installs an extra; quoted, since [ ] are the shell's own."""
    return f'pip install "dr_edge[{extra}]"'


def line_for(module: str) -> str | None:
    """Returns the line that installs the package of a module, None where no extra brings it."""
    package = PACKAGES.get(module.partition(".")[0])
    return install(package[1]) if package else None


def missing(who: str) -> list[str]:
    """Returns the modules of NEEDS[who] that are not installed."""
    return [module for module in NEEDS[who] if not _is_there(module)]


def sentence(who: str, name: str | None = None) -> str | None:
    """Returns what `who` misses and the line that installs it; None where nothing is missing.

    Args:
      who: a key of NEEDS.
      name: what the sentence begins with; `who` if not given.
    """
    modules = missing(who)
    if not modules:
        return None
    wanted = " and ".join(PACKAGES[module][0] for module in modules[:_NAMED])
    return f"{name or who} needs {wanted}: {install(PACKAGES[modules[0]][1])}"


def require(who: str, name: str | None = None) -> None:
    """Raises Missing with `sentence` where a module is not installed."""
    said = sentence(who, name)
    if said:
        raise Missing(said)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # ValueError: a module without a spec was put into sys.modules
        return False
