"""Convolutional networks at 64 px, sized for two CPU cores.

pneumo launch cnn --data FOLDER
"""

from collections.abc import Mapping

from pneumo_core.specs import DataSpec, TrialSpec
from spaces import Suggest, cnn, training
from spaces.base import Scalar
from studies import preferences
from studies.spec import UNDER_SHIFTS, StudySpec


def space(suggest: Suggest) -> TrialSpec:
    return TrialSpec(
        data=DataSpec(image_size_px=64),
        model=cnn(suggest, min_blocks=2, max_blocks=4, max_first_filters=32, max_filters=96, max_layers=2),
        train=training(suggest, epochs=12, patience=4, plateau_patience=2),
    )


# A sensible point to start from: the search must beat it.
START: Mapping[str, Scalar] = {
    "n_blocks": 4,
    "filters_1": 16,
    "filters_2": 32,
    "filters_3": 64,
    "filters_4": 96,
    "convolutions_per_block": 1,
    "kernel_px": 3,
    "pooling": "max",
    "normalization": "batch",
    "residual": False,
    "head": "average",
    "n_dense_layers": 0,
    "activation": "relu",
    "dropout": 0.2,
    "use_l2": False,
    "optimizer": "adamw",
    "schedule": "cosine",
    "warmup_epochs": 1.0,
    "learning_rate": 3e-3,
    "weight_decay": 1e-2,
    "batch_size": 32,
    "class_weights": "balanced",
    "label_smoothing": 0.02,
    "augment_geometric": 0.5,
    "augment_photometric": 0.5,
    "augment_sharpness": 0.5,
    "augment_flip": False,
}

STUDY = StudySpec(
    name="cnn",
    description="convolutional networks, 64 px",
    space=space,
    objective=UNDER_SHIFTS,
    prefer=preferences.STANDARD,
    enqueue=(START,),
)
