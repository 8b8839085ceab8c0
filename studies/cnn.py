"""Convolutional networks at 64 px, sized for two CPU cores.

pneumo launch cnn --data FOLDER
"""

from pneumo_core.specs import DataSpec, TrialSpec
from spaces import Suggest, cnn, training
from studies.spec import StudySpec


def space(suggest: Suggest) -> TrialSpec:
    return TrialSpec(
        data=DataSpec(image_size_px=64),
        model=cnn(suggest, min_blocks=2, max_blocks=4, max_first_filters=32, max_filters=96, max_layers=2),
        train=training(suggest, epochs=12, patience=4, plateau_patience=2),
    )


STUDY = StudySpec(name="cnn", description="convolutional networks, 64 px", space=space)
