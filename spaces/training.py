"""Optimiser, schedule, batches, regularisation and augmentation."""

from typing import Any, Literal

from pneumo_core.specs import AugmentSpec, Precision, TrainSpec
from spaces.base import Suggest


def training(
    suggest: Suggest,
    *,
    epochs: int = 20,
    steps_per_epoch: int | None = None,
    patience: int = 14,
    plateau_patience: int = 7,
    augment: AugmentSpec | None = None,
    precision: Precision | Literal["auto"] = "auto",
    **fixed: Any,
) -> TrainSpec:
    """Draw how a model is fitted for at most `epochs`; `augment` fixes the augmentation instead of drawing it.

    `fixed` are other fields of `TrainSpec` that are not searched, such as `average` and `patients`.
    """
    optimizer = suggest.suggest_categorical("optimizer", ["adam", "adamw", "sgd"])
    schedule = suggest.suggest_categorical("schedule", ["constant", "plateau", "cosine"])
    return TrainSpec(
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        patience=patience,
        plateau_patience=plateau_patience,
        optimizer=optimizer,
        learning_rate=suggest.suggest_float("learning_rate", 1e-4, 3e-2, log=True),
        momentum=suggest.suggest_float("momentum", 0.0, 0.95) if optimizer == "sgd" else 0.0,
        weight_decay=suggest.suggest_float("weight_decay", 1e-6, 1e-1, log=True) if optimizer == "adamw" else 0.0,
        schedule=schedule,
        warmup_epochs=suggest.suggest_float("warmup_epochs", 0.0, min(3.0, epochs / 4))
        if schedule == "cosine"
        else 0.0,
        batch_size=suggest.suggest_int("batch_size", 16, 128, log=True),
        class_weights=suggest.suggest_categorical("class_weights", ["balanced", "none"]),
        label_smoothing=suggest.suggest_float("label_smoothing", 0.0, 0.1),
        augment=augmentation(suggest) if augment is None else augment,
        precision=precision,
        **fixed,
    )


def augmentation(suggest: Suggest, *, least: float = 0.0) -> AugmentSpec:
    """Draw the strength of geometric, photometric and sharpness augmentation, and whether images are mirrored.

    Three strengths instead of sixteen parameters: a search of a few hundred trials can't estimate sixteen. None is
    below `least`: validation of the archive that the training images are from prefers too little of them.
    """
    return augmented(
        geometric=suggest.suggest_float("augment_geometric", least, 1.0),
        photometric=suggest.suggest_float("augment_photometric", least, 1.0),
        sharpness=suggest.suggest_float("augment_sharpness", least, 1.0),
        flip=suggest.suggest_categorical("augment_flip", [False, True]),
    )


def augmented(*, geometric: float, photometric: float, sharpness: float, flip: bool = False) -> AugmentSpec:
    """Return augmentation of these strengths, 0 to 1; at 1 about twice what separates archives of one examination.

    `docs/shortcuts.md` says which shortcut each field breaks. `flip` has a parameter of its own: it mirrors the heart.
    """
    return AugmentSpec(
        flip=0.5 * flip,
        rotation_deg=15 * geometric,
        shift=0.12 * geometric,
        shear_deg=6 * geometric,
        zoom=0.25 * geometric,
        crop=0.3 * geometric,
        aspect=0.4 * geometric,
        border=0.1 * geometric,
        erase=0.3 * geometric,
        contrast=0.5 * photometric,
        brightness=0.2 * photometric,
        gamma=0.8 * photometric,
        black=0.2 * photometric,
        noise=0.04 * photometric,
        blur=0.01 * sharpness,
        sharpen=2.0 * sharpness,
        coarsen=0.025 * sharpness,
        jpeg=0.5 * sharpness,
    )
