"""KerasTuner's own Xception, at a width and depth that two CPU cores can train: a stock hypermodel as a study.

pneumo launch hyper_xception --data FOLDER
"""

from spaces.keras_tuner import from_keras_tuner
from studies.spec import BudgetSpec, PrunerSpec, StudySpec

STUDY = StudySpec(
    name="hyper_xception",
    description="KerasTuner's HyperXception, 2 blocks of 64 filters, 71 px",
    space=from_keras_tuner(
        "keras_tuner.applications:HyperXception",
        arguments={"input_shape": (71, 71, 1), "classes": 2},
        fixed={
            "activation": "selu",  # its relu brings batch normalisation, whose averages need more steps than these
            "conv2d_num_filters": 32,
            "sep_num_filters": 64,
            "num_residual_blocks": 2,
        },
        epochs=6,
        steps_per_epoch=40,
        batch_size=32,
        patience=3,
        plateau_patience=2,
    ),
    pruner=PrunerSpec(n_startup_trials=1),
    budget=BudgetSpec(trials=12),
)
