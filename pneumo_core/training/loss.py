"""What the steps of every backend share: the network below its sigmoid, the loss on logits, batches of one size."""

from typing import Any

import keras
import numpy as np

from pneumo_core.specs import TrainSpec


def logit_model(model: keras.Model) -> keras.Model:
    """Return the part of `model` below its sigmoid, sharing the layers; all of it where it ends there already.

    The loss on logits neither saturates nor needs clipping where a score rounds to 0 or 1.
    """
    if model.layers[-1].name == "logit":
        return model
    return keras.Model(model.inputs, model.get_layer("score").input, name=f"{model.name}_logit")


def weighted_loss(logits: Any, y: Any, sample_weight: Any, spec: TrainSpec) -> Any:
    """Return the mean over the batch of weight times binary cross-entropy, a scalar tensor.

    The focal factor is (1 - p)^gamma, p being the score of the true class (Lin et al. 2017, eq. 4).
    """
    logits = logits[:, 0]  # (b,)
    target = y * (1.0 - spec.label_smoothing) + 0.5 * spec.label_smoothing
    losses = keras.ops.softplus(logits) - logits * target  # = -t log s(z) - (1 - t) log(1 - s(z))
    if spec.focal_gamma:
        score = keras.ops.sigmoid(logits)
        miss = target + score - 2.0 * target * score  # = 1 - p
        losses *= keras.ops.power(keras.ops.maximum(miss, 1e-7), spec.focal_gamma)  # 0 has no gradient below 1
    return keras.ops.mean(losses * sample_weight)


def batched(x: np.ndarray, batch_size: int) -> "list[tuple[np.ndarray, int]]":
    """Return `x` in batches of one size, the last filled with zeros, each with its count of true rows."""
    parts = []
    for start in range(0, len(x), batch_size):
        part = np.asarray(x[start : start + batch_size])
        n_missing = batch_size - len(part)
        filled = np.concatenate([part, np.zeros((n_missing, *part.shape[1:]), part.dtype)]) if n_missing else part
        parts.append((filled, len(part)))
    return parts


def average_decay(decay: float, n_steps: Any) -> Any:
    """Return the decay of a moving average after `n_steps`: less at first, so that it forgets where it began."""
    n = keras.ops.cast(n_steps, "float32")
    return keras.ops.minimum(decay, (1.0 + n) / (10.0 + n))
