"""The moving average of a network's weights (EMA), which is often better and steadier than the weights themselves."""

from __future__ import annotations

from dr_edge.framework import keras, tf


class WeightAverage:
    """Averages every float variable of a network, batch normalisation's statistics included, after each step.

    average += (1 - d) (weight - average) with d = min(decay, (1 + t) / (10 + t)) at step t, so that the random first
    weights are forgotten soon in a short run, too. The averages and t are variables: a checkpoint holds them.
    """

    def __init__(self, network: keras.Model, decay: float) -> None:
        """Starts at the network's present weights; to be called inside the strategy's scope."""
        self._decay = decay
        self._sources = [variable for variable in network.variables if keras.backend.is_float_dtype(variable.dtype)]
        self._step = keras.Variable(0, dtype="int64", trainable=False, name="average_step")
        self._averages = [
            keras.Variable(keras.ops.convert_to_numpy(source), dtype=source.dtype, trainable=False, name="average")
            for source in self._sources
        ]

    @property
    def variables(self) -> list[keras.Variable]:
        """The averages and the step, in a fixed order, for checkpoints."""
        return [self._step, *self._averages]

    def restart(self) -> None:
        """Sets the averages to the network's present weights, as at the beginning."""
        self._step.assign(0)
        for source, average in zip(self._sources, self._averages, strict=True):
            average.assign(keras.ops.convert_to_numpy(source))

    def update(self, strategy: tf.distribute.Strategy) -> None:
        """Takes one step; to be called in cross-replica context, after the optimizer's step."""

        def move(average: tf.Variable, source: tf.Variable, share: tf.Tensor) -> None:
            average.assign_add(tf.cast(share, average.dtype) * (source - average))

        step = tf.cast(tf.convert_to_tensor(self._step.value), tf.float32)
        share = 1.0 - tf.minimum(self._decay, (1.0 + step) / (10.0 + step))
        for source, average in zip(self._sources, self._averages, strict=True):
            # Statistics that each device keeps for itself are read as the strategy aggregates them.
            value = source.value if source.trainable else tf.convert_to_tensor(source.value)
            strategy.extended.update(average.value, move, args=(value, share))
        strategy.extended.update(self._step.value, lambda variable: variable.assign_add(1))

    def copy_to(self, network: keras.Model) -> None:
        """Assigns the averages to a network of the same architecture."""
        targets = [variable for variable in network.variables if keras.backend.is_float_dtype(variable.dtype)]
        for average, target in zip(self._averages, targets, strict=True):
            target.assign(keras.ops.convert_to_numpy(average))
