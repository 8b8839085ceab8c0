"""Where the part of a network that never changes in training ends."""

from collections.abc import Iterator, Sequence

import keras
import numpy as np

AFTER = 0.1  # of its work: what may be computed again in each step so that less must be kept


def end(network: keras.Model) -> keras.KerasTensor | None:
    """Return the tensor to keep in place of pixels: all that is trained lies behind it, and sees nothing before it.

    Among the tensors behind which at most `AFTER` of the frozen part's multiplications lie, it is the smallest: the
    input of an inverted bottleneck rather than the six times as many maps inside. None where nothing with weights is
    frozen.
    """
    operations = list(network.operations)  # each after those that it takes its inputs from
    frozen = _n_frozen(operations)
    work = np.cumsum([_multiplications(operation) for operation in operations[:frozen]])
    if not frozen or not work[-1]:
        return None
    found = [i for i in _narrow(operations) if i < frozen and work[-1] - work[i] <= AFTER * work[-1]]
    return min((operations[i].output for i in reversed(found)), key=_n_values, default=None)


def _n_frozen(operations: Sequence[keras.Operation]) -> int:
    trained = (i for i, operation in enumerate(operations) if getattr(operation, "trainable", False))
    return next(trained, len(operations))


def _narrow(operations: Sequence[keras.Operation]) -> Iterator[int]:
    """Yield the places in the order of `operations` where all that follows needs nothing but the one's output."""
    place = {id(operation): i for i, operation in enumerate(operations)}
    last_use = list(range(len(operations)))
    for i, operation in enumerate(operations):
        for tensor in _inputs(operation):
            last_use[place[id(tensor._keras_history.operation)]] = i
    reach = -1  # the last place that needs something before this one
    for i in range(len(operations)):
        if reach <= i:
            yield i
        reach = max(reach, last_use[i])


def _inputs(operation: keras.Operation) -> list[keras.KerasTensor]:
    if isinstance(operation, keras.layers.InputLayer):
        return []
    return list(keras.tree.flatten(operation.input))


def _multiplications(operation: keras.Operation) -> int:
    kernels = sum(int(np.prod(weight.shape)) for weight in getattr(operation, "weights", ()) if len(weight.shape) > 1)
    shape = operation.output.shape
    return kernels * (int(np.prod(shape[1:3])) if len(shape) == 4 else 1)


def _n_values(tensor: keras.KerasTensor) -> int:
    return int(np.prod(tensor.shape[1:]))
