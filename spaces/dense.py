"""Multi-layer perceptrons over pixels."""

from pneumo_core.specs import DenseSpec
from spaces.base import Suggest
from spaces.head import l2, units


def dense(suggest: Suggest, *, max_layers: int = 4, max_units: int = 512) -> DenseSpec:
    """Draw a dense network of 1 to `max_layers` hidden layers."""
    return DenseSpec(
        units=units(suggest, min_layers=1, max_layers=max_layers, max_units=max_units),
        activation=suggest.suggest_categorical("activation", ["relu", "gelu", "tanh"]),
        normalization=suggest.suggest_categorical("normalization", ["none", "batch", "layer"]),
        dropout=suggest.suggest_float("dropout", 0.0, 0.6),
        l2=l2(suggest),
    )
