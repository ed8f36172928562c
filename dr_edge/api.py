"""What Python programs call, as `dr_edge.NAME`: answer photographs with a bundle, read records, build a model.

  import dr_edge

  bundle = dr_edge.open_bundle("bundles/idrid")        # no TensorFlow
  print(bundle.answer("eye.jpg").message)

  for batch in dr_edge.read_records("records/idrid", "test", "referable_dr"):    # tf.data
      print(batch["image"].shape, batch["label"])

  model = dr_edge.build_model("mobilenet_v2_cbam", image_size=320, outputs=2)    # Keras

Each function imports what it needs when it is called; `import dr_edge` imports nothing.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from dr_edge.data.tasks import LabelTask, Task
    from dr_edge.framework import keras, tf
    from dr_edge.prediction.predictor import Predictor, Result
    from dr_edge.prediction.schema import Answer

    Photograph = str | os.PathLike | bytes | np.ndarray

BYTES = (bytes, bytearray, memoryview)
_ARGUMENTS = {  # flag -> argument of open_bundle
    "--bundle": "directory",
    "--bundle_sha256": "bundle_sha256",
    "--require_signature": "require_signature",
}
_FLAG = re.compile(r"--(?:bundle(?:_sha256)?|require_signature)\b")


class OpenedBundle:
    """A bundle that answers photographs; from `open_bundle`. Not for two threads at the same time.

    Attributes:
      class_names: names in the order of the outputs.
      image_size: side S in pixels of the crop that the model sees.
      manifest: the content of metadata.json.
      verdict: is the model better than guessing? "status" and "text"; every answer begins with it where it is not.
    """

    def __init__(self, predictor: Predictor, threads: int = 1) -> None:
        bundle = predictor.bundle
        self._predictor, self._threads = predictor, threads
        self.class_names: tuple[str, ...] = bundle.class_names
        self.image_size: int = bundle.image_size
        self.manifest: Mapping[str, Any] = bundle.manifest
        self.verdict: Mapping[str, Any] = bundle.verdict

    def answer(self, photograph: Photograph) -> Answer:
        """Answers a photograph, as `dr-edge predict` does.

        Args:
          photograph: the path of a file; its bytes; or the picture, [H, W, 3] uint8, red, green, blue, 0..255 and
            upright. A file is better than its pixels: a large JPEG is reduced while it is decoded, as it was for
            training, which moves probabilities a little.

        Returns:
          The answer: `.status` and `.message`; where the status is "answered" also `.prediction`, `.decision`,
          `.findings` or `.masks`, as the task asks (dr_edge/prediction/schema.py). A file that cannot be read, or that
          shows no fundus, is an answer as well: its status says so. `.to_json()` gives what `dr-edge predict` prints.

        Raises:
          TypeError: none of the three.
          ValueError: an array of another shape or dtype.
        """
        return self.result(photograph).answer

    def answer_many(self, photographs: Iterable[Photograph], workers: int | None = None) -> Iterator[Answer]:
        """Answers many photographs in their order, each as `answer` does, with several processes.

        Args:
          photographs: as `answer` takes them; a few ahead of the answers are taken up.
          workers: processes; None for as many as there are cores. They start with the first answer, and end with the
            last one, or when the iterator is closed.

        Raises:
          TypeError: one is none of the three; when it is taken up.
          ValueError: an array of another shape or dtype, when its turn comes; fewer than one process.
          RuntimeError: a process cannot start.
        """
        from dr_edge import cores
        from dr_edge.prediction.workers import Workers

        with Workers(
            self._predictor.bundle, cores.available() if workers is None else workers, self._threads
        ) as processes:
            for answered in processes.answers(map(_given, photographs)):
                yield answered.answer

    def result(self, photograph: Photograph) -> Result:
        """As `answer`, with what pictures are drawn of.

        Returns:
          `.answer`; `.crop` [S, S, 3] uint8 RGB, None where there is none; `.outputs`: name -> float32 array, such as
          "probabilities" [C], "heatmap" [h, w] 0..1 or "masks" [S, S, C] 0..1; empty where the model did not run.
        """
        from dr_edge.prediction.answering import read_and_predict

        return read_and_predict(self._predictor, _given(photograph))

    def __repr__(self) -> str:
        bundle = self._predictor.bundle
        return f"OpenedBundle({str(bundle.directory)!r}, {bundle.artifact}, {', '.join(self.class_names)})"


def open_bundle(
    directory: str | os.PathLike,
    artifact: str | None = None,
    operating_point: str | None = None,
    min_quality: float | None = None,
    threads: int = 1,
    bundle_sha256: str | None = None,
    require_signature: str | os.PathLike | None = None,
) -> OpenedBundle:
    """Opens a bundle to answer photographs with. Imports LiteRT and OpenCV, no TensorFlow.

    Args:
      directory: what `dr-edge export` wrote, or its https:// or hf:// address, from which it is fetched once.
      artifact: variant or file name of the .tflite to use, for example "static_int8"; None: float32.
      operating_point: one of the bundle's; None: sensitivity_90 where it has that.
      min_quality: photographs below it (0..1) are not graded; None: what the bundle states, 0.2.
      threads: of the model's arithmetic.
      bundle_sha256: SHA-256 of the bundle's metadata.json; needed with an address.
      require_signature: PEM file of the public key that must have signed the bundle (`dr-edge export --sign`); needs
        the extra `sign`.

    Raises:
      ManifestError: no bundle, an incomplete one, files that were changed, or not signed with that key (a ValueError).
      ImportError: the extra `sign` is needed and not installed.
      DownloadError: it could not be fetched (a RuntimeError).
      ValueError: an address without its digest, an artifact or operating point that the bundle does not have, or an
        artifact that LiteRT cannot read.
    """
    from dr_edge.prediction import bundle
    from dr_edge.prediction.predictor import Predictor
    from dr_edge.remote import bundles

    with _naming_arguments():
        place = bundles.local_directory(os.fsdecode(directory), bundle_sha256, require_signature)
        opened = bundle.open_bundle(place, artifact, operating_point, min_quality, require_signature)
    return OpenedBundle(Predictor(opened, threads), threads)


def read_records(
    directory: str | os.PathLike, split: str, task: str | Task | LabelTask, batch_size: int = 16
) -> tf.data.Dataset:
    """Reads a split of records once, in the order of its shards, without augmentation. Imports TensorFlow.

    Args:
      directory: what `dr-edge build` wrote.
      split: "train", "val" or "test".
      task: what to read as "label": the name of a task, such as "referable_dr" or "optic_disc_and_cup", or one of
        dr_edge.data.tasks: `tasks.label("class")` reads a label of your own.
      batch_size: B, of all batches but the last, which holds the rest.

    Returns:
      Dataset of dicts: "image" [B, S, S, 3] float32 0..255, as models take it; "label" [B] int32 (classification),
      [B, L] float32 of 0, 1 or -1: missing (several diseases), or [B, S, S, M] float32 (masks; a missing one is -1);
      "id", "patient", "laterality" [B] string, "quality" [B] float32, and what
      `dr_edge.data.pipeline.evaluation_batches` lists.

    Raises:
      ManifestError: no finished records (a ValueError).
      ValueError: an unknown split or task, or records that do not hold what the task reads.
      ImportError: the extra `train` is not installed.
    """
    from dr_edge import extras

    extras.require("train", "dr_edge.read_records")
    from dr_edge.data import pipeline

    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1. Received: {batch_size}.")
    info = pipeline.read_info(directory)
    return pipeline.evaluation_batches(directory, split, pipeline.resolve(info, _task(task)), batch_size)


def build_model(name: str, image_size: int | None = None, outputs: int | None = None, **arguments: Any) -> keras.Model:
    """Builds a network by name, from random weights unless told otherwise. Imports TensorFlow.

    Args:
      name: of a model that `dr-edge models` lists.
      image_size: side S of the square input in pixels; None: its default.
      outputs: number of logits (classes, diseases, masks); None: its default.
      **arguments: of its function in dr_edge.models, for example weights="imagenet" or dropout=0.3.

    Returns:
      A Keras model from [B, S, S, 3] float32 0..255 to logits, [B, outputs], or [B, S, S, outputs] of a segmentation
      network; its layers `penultimate` and `logits`, and of convolutional classifiers `cam_features`, keep their names.

    Raises:
      ValueError: an unknown name, or a size that does not fit.
      TypeError: an argument that the function does not take.
      ImportError: an extra is not installed; names it.
    """
    from dr_edge import extras
    from dr_edge.models import registry

    extras.require("train", "dr_edge.build_model")
    return registry.build(registry.find(name), image_size, outputs, arguments)


@contextlib.contextmanager
def _naming_arguments() -> Iterator[None]:
    """Has errors that are worded for commands name the arguments of `open_bundle` where they name flags."""
    try:
        yield
    except (ValueError, RuntimeError, ImportError) as err:
        said = _FLAG.sub(lambda found: _ARGUMENTS[found[0]], str(err))
        err.args = (said,)
        if isinstance(err, ImportError):
            err.msg = said
        raise


def _given(photograph: Any) -> str | bytes | np.ndarray:
    """Returns the path as text, the bytes, or the array that was given."""
    import numpy as np

    if isinstance(photograph, (str, os.PathLike)):
        return os.fsdecode(photograph)
    if isinstance(photograph, BYTES):
        return bytes(photograph)
    if isinstance(photograph, np.ndarray):
        return photograph
    raise TypeError(
        "A photograph is the path of a file, its bytes, or an array [H, W, 3] uint8 of red, green, blue. Received: "
        f"{type(photograph).__module__}.{type(photograph).__name__}. numpy.asarray makes an array of a PIL image."
    )


def _task(task: str | Task | LabelTask) -> Task | LabelTask:
    from dr_edge import choices
    from dr_edge.data import tasks

    if isinstance(task, (tasks.Task, tasks.LabelTask)):
        return task
    known = [name for name in choices.known("tasks") if name != tasks.label.__name__]
    if task not in known:
        near = difflib.get_close_matches(str(task), known, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"No task {task!r}.{hint} Known: {', '.join(known)}; or dr_edge.data.tasks.label(NAME) for a label of the "
            "records."
        )
    return getattr(tasks, task)()
