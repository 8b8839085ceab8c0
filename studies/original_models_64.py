"""Models 1 and 2 of the original project at 64 px: what two CPU cores can carry. All else is as published.

    python -m benchmarks.original_project --data FOLDER       both protocols beside the published table
"""

from dataclasses import replace
from functools import partial

from studies import original_models
from studies.spec import BudgetSpec

STUDY = replace(
    original_models.STUDY,
    name="original_models_64",
    description="models 1 and 2 of the original project, 64 px",
    space=partial(original_models.space, image_size_px=64),
    enqueue=original_models.MODELS[:2],
    budget=BudgetSpec(trials=2),
)
