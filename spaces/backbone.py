"""Named image networks: frozen or fine-tuned, with optional convolutions and a head."""

from collections.abc import Sequence
from typing import Any, Literal

from pneumo_core.specs import BackboneSpec
from spaces.base import Suggest
from spaces.head import l2, units

DEPTHS = ("stage-1", "stage-2", "all")  # from which layer on a network is fine-tuned; see `BackboneSpec`


def backbone(
    suggest: Suggest,
    *,
    names: Sequence[str] = ("EfficientNetLite0",),
    weights: Literal["imagenet", "none"] = "imagenet",
    fine_tune: bool | Sequence[str] = True,
    max_head_epochs: int = 2,
    max_convolutions: int = 2,
    max_layers: int = 4,
) -> BackboneSpec:
    """Draw one of `names`, frozen or fine-tuned, with up to `max_convolutions` extra layers.

    `fine_tune` is whether networks may be fine-tuned too, or the values of `trainable_from` to choose from. They are
    trained after up to `max_head_epochs` of the head alone, fewer than the trial's, and at lower rates than the head.
    """
    n_convolutions = suggest.suggest_int("n_convolutions", 0, max_convolutions)
    depths = DEPTHS if fine_tune is True else fine_tune or ()
    trained = "all" if weights == "none" else suggest.suggest_categorical("backbone_training", ["frozen", *depths])
    tuned = weights == "imagenet" and trained != "frozen"
    return BackboneSpec(
        name=suggest.suggest_categorical("backbone", list(names)),
        weights=weights,
        trainable_from=None if trained == "frozen" else trained,
        **_fine_tuning(suggest, max_head_epochs) if tuned else {},
        filters=tuple(suggest.suggest_categorical(f"filters_{i + 1}", [64, 128, 256]) for i in range(n_convolutions)),
        head=suggest.suggest_categorical("head", ["flatten", "average"]),
        units=units(suggest, max_layers=max_layers, max_units=256),
        activation=suggest.suggest_categorical("activation", ["relu", "gelu"]),
        dropout=suggest.suggest_float("dropout", 0.0, 0.6),
        l2=l2(suggest),
    )


def _fine_tuning(suggest: Suggest, max_head_epochs: int) -> dict[str, Any]:
    """Draw how pretrained layers are trained. Their decay has three values: finer ones make no difference."""
    return {
        "head_epochs": suggest.suggest_int("head_epochs", 0, max_head_epochs),
        "backbone_rate": suggest.suggest_float("backbone_rate", 0.01, 1.0, log=True),
        "layer_decay": suggest.suggest_categorical("layer_decay", [1.0, 0.7, 0.4]),
    }
