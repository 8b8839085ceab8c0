"""Dense networks over 64 px thumbnails: cheap, and a baseline for convolutions.

pneumo launch dense --data FOLDER
"""

from pneumo_core.specs import DataSpec, TrialSpec
from spaces import Suggest, dense, training
from studies.spec import StudySpec


def space(suggest: Suggest) -> TrialSpec:
    return TrialSpec(
        data=DataSpec(image_size_px=64),
        model=dense(suggest),
        train=training(suggest, epochs=20, patience=6, plateau_patience=3),
    )


STUDY = StudySpec(name="dense", description="dense networks, 64 px", space=space)
