"""Convolutional networks: blocks that halve the image, then a head."""

from pneumo_core.specs import CnnSpec
from spaces.base import Suggest
from spaces.head import l2, units

FILTERS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256)


def cnn(
    suggest: Suggest,
    *,
    min_blocks: int = 1,
    max_blocks: int = 5,
    max_first_filters: int = 256,
    max_filters: int = 256,
    max_layers: int = 4,
) -> CnnSpec:
    """Draw a convolutional network of `min_blocks` to `max_blocks` blocks.

    `max_first_filters` bounds the first block, which sees the whole image and costs the most;
    `max_filters` bounds the others.
    """
    n_blocks = suggest.suggest_int("n_blocks", min_blocks, max_blocks)
    first = suggest.suggest_categorical("filters_1", [n for n in FILTERS if n <= max_first_filters])
    later = [n for n in FILTERS if n <= max_filters]
    return CnnSpec(
        filters=(first, *(suggest.suggest_categorical(f"filters_{i + 1}", later) for i in range(1, n_blocks))),
        convolutions_per_block=suggest.suggest_int("convolutions_per_block", 1, 2),
        kernel_px=suggest.suggest_categorical("kernel_px", [3, 5]),
        pooling=suggest.suggest_categorical("pooling", ["max", "average", "stride"]),
        normalization=suggest.suggest_categorical("normalization", ["none", "batch"]),
        residual=suggest.suggest_categorical("residual", [False, True]),
        head=suggest.suggest_categorical("head", ["flatten", "average"]),
        units=units(suggest, max_layers=max_layers, max_units=128),
        activation=suggest.suggest_categorical("activation", ["relu", "gelu", "silu"]),
        dropout=suggest.suggest_float("dropout", 0.0, 0.6),
        l2=l2(suggest),
    )
