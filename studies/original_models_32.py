"""Models 1 and 2 of the original project at 32 px: what two CPU cores can carry in minutes. All else is as published.

python -m benchmarks.original_project --data FOLDER       both protocols beside the published table
"""

from dataclasses import replace
from functools import partial

from studies import original_models
from studies.spec import BudgetSpec

STUDY = replace(
    original_models.STUDY,
    name="original_models_32",
    description="models 1 and 2 of the original project, 32 px",
    space=partial(original_models.space, image_size_px=32),
    enqueue=original_models.MODELS[:2],
    budget=BudgetSpec(trials=2),
)
