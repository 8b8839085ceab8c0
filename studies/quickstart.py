"""Small networks on generated phantoms: shows the whole path in a minute or two, needs no data.

pneumo launch quickstart
"""

from pneumo_core.specs import DataSpec, TrialSpec
from spaces import Suggest, cnn, training
from spaces.base import Scalar
from studies import preferences
from studies.spec import UNDER_SHIFTS, BudgetSpec, PrunerSpec, SamplerSpec, SourceSpec, StudySpec


def space(suggest: Suggest) -> TrialSpec:
    return TrialSpec(
        data=DataSpec(image_size_px=32),
        model=cnn(suggest, min_blocks=2, max_blocks=3, max_first_filters=16, max_filters=32, max_layers=1),
        train=training(suggest, epochs=12, patience=6, plateau_patience=3),
    )


# A sensible point to start from: the search must beat it.
START: dict[str, Scalar] = {
    "n_blocks": 3,
    "filters_1": 16,
    "filters_2": 32,
    "filters_3": 32,
    "convolutions_per_block": 1,
    "kernel_px": 3,
    "pooling": "max",
    "normalization": "none",
    "residual": False,
    "head": "flatten",
    "n_dense_layers": 1,
    "units_1": 32,
    "activation": "relu",
    "dropout": 0.0,
    "use_l2": False,
    "optimizer": "adam",
    "schedule": "cosine",
    "warmup_epochs": 1.0,
    "learning_rate": 1e-3,
    "batch_size": 16,
    "class_weights": "balanced",
    "label_smoothing": 0.0,
    "augment_geometric": 0.3,
    "augment_photometric": 0.0,
    "augment_sharpness": 0.0,
    "augment_flip": False,
}

STUDY = StudySpec(
    name="quickstart",
    description="small convolutional networks on synthetic phantoms, 32 px",
    space=space,
    objective=UNDER_SHIFTS,
    prefer=preferences.STANDARD,
    data=SourceSpec(source="phantom"),
    sampler=SamplerSpec(n_startup_trials=4),
    pruner=PrunerSpec(n_startup_trials=3),
    budget=BudgetSpec(trials=8),
    enqueue=(START,),
)
