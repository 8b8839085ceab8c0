"""Which classes the description of a network may name: Keras' own that carry neither code nor the names of files.

The list is ours, so that nothing depends on Keras' safe mode. Not in it, though Keras' own: layers that run code which
they carry (`Lambda`, `TFSMLayer`, `JaxLayer`, ...), and those that read files named in their description
(`StringLookup` and its like, by their vocabulary).
"""

import importlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras

from pneumo_core.errors import BundleError

_LAYERS = """
    Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
    AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention AlphaDropout Attention
    AugMix AutoContrast Average AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization
    Bidirectional CategoryEncoding CenterCrop Concatenate ContrastLimitedAdaptiveHistogramEqualization Conv1D
    Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Cropping1D
    Cropping2D Cropping3D CutMix Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout ELU
    EinsumDense Embedding Equalization Flatten GRU GRUCell GaussianDropout GaussianNoise GlobalAveragePooling1D
    GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    GroupNormalization GroupQueryAttention HashedCrossing Hashing Identity InputLayer LSTM LSTMCell
    LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D MaxPooling3D Maximum Minimum MixUp
    MultiHeadAttention Multiply Normalization PReLU Permute RMSNormalization RNN RandAugment RandomBrightness
    RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop RandomElasticTransform RandomErasing
    RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization
    RandomRotation RandomSaturation RandomSharpness RandomShear RandomTranslation RandomZoom ReLU RepeatVector
    Rescaling Reshape Resizing SeparableConv1D SeparableConv2D SimpleRNN SimpleRNNCell Softmax Solarization
    SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells Subtract
    TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D
    ZeroPadding3D
"""
LAYERS = frozenset(_LAYERS.split())
_INITIALIZERS = """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity LecunNormal LecunUniform Ones Orthogonal
    OrthogonalInitializer RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
"""
CLASSES: Mapping[str | None, frozenset[str]] = {
    "keras": frozenset({"DTypePolicy", "FloatDTypePolicy", "Sequential"}),
    "keras.layers": LAYERS,
    "keras.models": frozenset({"Functional", "Sequential"}),
    "keras.src.models.functional": frozenset({"Functional"}),
    "keras.src.models.sequential": frozenset({"Sequential"}),
    "keras.src.ops.core": frozenset({"Cast", "ConvertToTensor"}),
    "keras.initializers": frozenset(_INITIALIZERS.split()),
    "keras.regularizers": frozenset({"L1", "L1L2", "L2", "OrthogonalRegularizer"}),
    "keras.constraints": frozenset({"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"}),
    None: frozenset({"__keras_tensor__", "__tuple__", "__slice__", "__ellipsis__", "__tensor__", "__numpy__"}),
}
OPERATION_MODULES = ("keras.src.ops.numpy", "keras.src.ops.nn")  # what `x + y`, `x[:, 1:]` and `keras.ops` leave
LARGEST_SIZE = 2**20  # of anything in a description: no layer has so many units, no image so many pixels a side
LARGEST_MAP = 2**28  # values that one image may become between two layers
NO_SIZES = ("seed", "shared_object_id")  # keys of whole numbers that may be anything
SPARE_WEIGHTS = 2**16  # that may be missing in a file, such as the states of random generators


def foreign_class(config: Any) -> str | None:
    """Return the first class in the description of a network that isn't in the list, or None."""
    for module, name in _classes(config):
        if not isinstance(name, str) or not isinstance(module, str | None):
            return f"{module}.{name}"[:200]
        if name not in CLASSES.get(module, ()) and not _is_operation(module, name):
            return f"{module}.{name}"
    return None


def excessive_size(config: Any) -> int | None:
    """Return the first whole number in the description of a network that can be no layer's size, or None."""
    return next((n for n in _numbers(config) if abs(n) > LARGEST_SIZE), None)


@contextmanager
def at_most(n_values: int) -> Iterator[None]:
    """Let networks be built of no more than `n_values` weights, refused before they are made.

    Raises `BundleError` within the block.
    """
    left = n_values + SPARE_WEIGHTS
    original = keras.layers.Layer.add_weight

    def add_weight(self: keras.layers.Layer, shape: Any = None, *arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= math.prod(shape) if isinstance(shape, tuple | list) else shape or 1
        if left < 0:
            raise BundleError(f"its layers have more weights than its file can hold ({n_values})")
        return original(self, shape, *arguments, **options)

    keras.layers.Layer.add_weight = add_weight
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = original


def largest_map(model: keras.Model) -> int:
    """Return how many values one image becomes at most between two layers of a network."""
    shapes = [tensor.shape for layer in model.layers for tensor in _outputs(layer)]
    return max((math.prod(size or 1 for size in shape[1:]) for shape in shapes), default=0)


def _outputs(layer: keras.layers.Layer) -> list[keras.KerasTensor]:
    found = getattr(layer, "output", [])
    return found if isinstance(found, list) else [found] if hasattr(found, "shape") else []


def _is_operation(module: str | None, name: str) -> bool:
    if module not in OPERATION_MODULES:
        return False
    found = getattr(importlib.import_module(module), name, None)
    return isinstance(found, type) and issubclass(found, keras.Operation)


def _parts(config: Any, but: tuple[str, ...] = ()) -> Iterator[Any]:
    """Yield a description and all that is in it, however deep, without the values of the keys `but`."""
    left = [config]
    while left:
        part = left.pop()
        yield part
        if isinstance(part, dict):
            left += [item for key, item in part.items() if key not in but]
        elif isinstance(part, list | tuple):
            left += part


def _classes(config: Any) -> Iterator[tuple[Any, Any]]:
    for part in _parts(config):
        if isinstance(part, dict) and "class_name" in part:
            yield part.get("module"), part["class_name"]


def _numbers(config: Any) -> Iterator[int]:
    return (part for part in _parts(config, NO_SIZES) if isinstance(part, int) and not isinstance(part, bool))
