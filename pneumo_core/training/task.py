"""What a training is given, and its state between two epochs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pneumo_core.data.preprocess import FitArrays
from pneumo_core.result import Stopped
from pneumo_core.specs import ObjectiveSpec, Stage, TrainSpec
from pneumo_core.training.fine_tuning import FineTuning
from pneumo_core.training.schedule import PlateauState

OnEpoch = Callable[[int, dict[str, float]], bool]


@dataclass(frozen=True, kw_only=True)
class TrainState:
    """The state of a training between two epochs, apart from its weights."""

    stage: int = 0
    images: str = ""  # see `Task.images`
    n_epochs: int = 0  # finished, in all stages
    best_epoch: int = -1
    best_cost: float | None = None  # of the monitored metric, lower is better
    plateau: PlateauState = field(default_factory=PlateauState)
    history: tuple[dict[str, float], ...] = ()
    stopped: Stopped | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """All that `fit` needs beside the model."""

    spec: TrainSpec
    objective: ObjectiveSpec
    arrays: FitArrays
    seed: int
    identity: str  # names the trial in its checkpoint
    on_epoch: OnEpoch
    rows: np.ndarray | None = None  # of the training images that are seen; None: all
    checkpoint: Path | None = None
    images: str = ""  # names the images in the checkpoint: only a later stage continues from that of others
    stage: Stage = field(default_factory=Stage)
    n_views: int = 0  # see `batches.Source`
    open_changed: Callable[[int], np.ndarray] | None = None
    fine_tuning: FineTuning = field(default_factory=FineTuning)
