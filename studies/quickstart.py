"""Small networks on generated phantoms: shows the whole path in a minute or two, needs no data.

pneumo launch quickstart
"""

from pneumo_core.specs import DataSpec, TrialSpec
from spaces import Suggest, cnn, training
from studies.spec import BudgetSpec, PrunerSpec, SamplerSpec, SourceSpec, StudySpec


def space(suggest: Suggest) -> TrialSpec:
    return TrialSpec(
        data=DataSpec(image_size_px=32),
        model=cnn(suggest, min_blocks=2, max_blocks=3, max_first_filters=16, max_filters=32, max_layers=1),
        train=training(suggest, epochs=8, patience=4, plateau_patience=2),
    )


STUDY = StudySpec(
    name="quickstart",
    description="small convolutional networks on synthetic phantoms, 32 px",
    space=space,
    data=SourceSpec(source="phantom"),
    sampler=SamplerSpec(n_startup_trials=4),
    pruner=PrunerSpec(n_startup_trials=3),
    budget=BudgetSpec(trials=8),
)
