"""Named image networks: frozen or fine-tuned, with optional convolutions and a head."""

from collections.abc import Sequence
from typing import Literal

from pneumo_core.specs import BackboneSpec
from spaces.base import Suggest
from spaces.head import l2, units


def backbone(
    suggest: Suggest,
    *,
    names: Sequence[str] = ("EfficientNetLite0",),
    weights: Literal["imagenet", "none"] = "imagenet",
    fine_tune: bool = True,
    max_convolutions: int = 2,
    max_layers: int = 4,
) -> BackboneSpec:
    """Draw one of `names`; with `fine_tune`, frozen or wholly trainable; up to `max_convolutions` extra layers."""
    n_convolutions = suggest.suggest_int("n_convolutions", 0, max_convolutions)
    training = ["frozen", "all"] if fine_tune else ["frozen"]
    trained = "all" if weights == "none" else suggest.suggest_categorical("backbone_training", training)
    return BackboneSpec(
        name=suggest.suggest_categorical("backbone", list(names)),
        weights=weights,
        trainable_from=None if trained == "frozen" else trained,
        filters=tuple(suggest.suggest_categorical(f"filters_{i + 1}", [64, 128, 256]) for i in range(n_convolutions)),
        head=suggest.suggest_categorical("head", ["flatten", "average"]),
        units=units(suggest, max_layers=max_layers, max_units=256),
        activation=suggest.suggest_categorical("activation", ["relu", "gelu"]),
        dropout=suggest.suggest_float("dropout", 0.0, 0.6),
        l2=l2(suggest),
    )
