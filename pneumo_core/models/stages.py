"""The stages of an image network: its layers by the size of their maps, under the same names for every family."""

import itertools
import re

import keras

from pneumo_core.errors import nearest

SHRUNK = 0.75  # of the side: a stride of 2 leaves about half, an unpadded kernel a little less than before
LAST = re.compile(r"stage-([1-9])")


def of_layers(network: keras.Model) -> dict[str, int]:
    """Return the stage of each layer that has weights, by name; 0 first, one more each time the maps halve.

    The small maps inside squeeze-and-excitation belong to the stage around them.
    """
    names = [layer.name for layer in network.layers if layer.weights]
    sides_px = [_side_px(network.get_layer(name)) for name in names]
    largest_px = list(itertools.accumulate(reversed(sides_px), max))[::-1]  # of each layer and those after it
    stage, found = 0, {}
    for name, side_px, before_px in zip(names, largest_px, [largest_px[0], *largest_px], strict=False):
        stage += side_px < SHRUNK * before_px
        found[name] = stage
    return found


def first_layer(network: keras.Model, trainable_from: str) -> int:
    """Return the index of the first layer that `trainable_from` means.

    That is a layer's name; a block's, which those of its layers begin with (`block5` for `block5_conv1`); `stage-1`
    for the last stage, `stage-2` for the last two, and so on; or `all`. Raises `ValueError` where there is none.
    """
    names = [layer.name for layer in network.layers]
    if trainable_from == "all":
        return 0
    if last := LAST.fullmatch(trainable_from):
        stages = of_layers(network)
        first = max(stages.values()) + 1 - int(last[1])
        if first < 0:
            raise ValueError(
                f"`trainable_from` must be at most stage-{1 + max(stages.values())}, got {trainable_from!r}"
            )
        return names.index(next(name for name, stage in stages.items() if stage >= first))
    for i, name in enumerate(names):
        if name == trainable_from or name.startswith(f"{trainable_from}_"):
            return i
    raise ValueError(f"`trainable_from` names no layer or block: {trainable_from!r}{nearest(trainable_from, names)}")


def _side_px(layer: keras.Layer) -> int:
    shape = layer.output.shape
    return min(shape[1:3]) if len(shape) == 4 else 1
