"""Statistics of batch normalisation that belong to the weights that are judged.

In training each batch is normalised by itself; scoring takes averages kept on the side. Keras keeps these with momentum
0.99, which needs some hundred steps to forget its start, and a training here may have thirty. So they are computed anew
from training images before each judgement: the mean over batches, each normalised by itself (Wu & Johnson 2021,
"Rethinking 'Batch' in BatchNorm", section 3: PreciseBN).
"""

import contextlib
from collections.abc import Iterator, Sequence

import keras
import numpy as np

N_IMAGES = 512  # deviations of a channel's mean are then 4 % of its own at most, in convolutions far less

Statistics = list[tuple[np.ndarray, np.ndarray]]  # mean and variance (channels,) for each layer


def trained(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the normalisations of `model` that learn from batches in training."""
    found: list[keras.layers.BatchNormalization] = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += trained(layer)
        elif isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            found.append(layer)
    return found


@contextlib.contextmanager
def of_one_batch(norms: Sequence[keras.layers.BatchNormalization]) -> Iterator[None]:
    """While a step is traced: have it leave the statistics of its batch alone in each of `norms`."""
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def put(norms: Sequence[keras.layers.BatchNormalization], batches: Sequence[Statistics]) -> None:
    """Give each of `norms` the statistics of all `batches` together (law of total variance)."""
    for norm, of_batches in zip(norms, zip(*batches, strict=True), strict=True):
        means, variances = (np.stack(values) for values in zip(*of_batches, strict=True))  # (batches, channels) each
        norm.moving_mean.assign(means.mean(axis=0))
        norm.moving_variance.assign(variances.mean(axis=0) + means.var(axis=0))
