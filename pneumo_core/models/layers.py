"""What a network consists of, layer by layer, as data that needs no Keras to be read."""

from collections.abc import Iterator

import keras

from pneumo_core.result import Layer


def table(network: keras.Model) -> tuple[Layer, ...]:
    """Return the layers of `network` in the order of their calls, those of networks within it in their place."""
    trainable = {id(weight) for weight in network.trainable_weights}
    return tuple(
        Layer(
            name=str(layer.name),
            kind=type(layer).__name__,
            shape=_shape(layer),
            n_parameters=int(layer.count_params()),
            trains=any(id(weight) in trainable for weight in layer.weights),
        )
        for layer in leaves(network)
    )


def leaves(network: keras.Model) -> Iterator[keras.Layer]:
    """Yield the layers of `network` and of the networks within it."""
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer)
        else:
            yield layer


def _shape(layer: keras.Layer) -> tuple[int, ...]:
    """Return the shape of what the layer gives for one image; () where it gives several things or none."""
    shape = getattr(getattr(layer, "output", None), "shape", None)
    return () if shape is None else tuple(int(n or 0) for n in shape[1:])
