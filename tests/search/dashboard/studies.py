"""Small stored studies that nobody trained: an infeasible trial has the best value."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna

from pneumo_core import codec
from pneumo_core.result import TrialResult
from pneumo_core.scoring.operating import Metrics
from pneumo_core.specs import DataSpec, DenseSpec, ObjectiveSpec, TrialSpec
from search import trials
from search.dashboard.pictures import Labels
from search.home import Home
from search.report.data import Validation
from search.storage import artifacts
from search.storage.database import open_storage
from tests.search import once

OBJECTIVE = ObjectiveSpec()
SPEC = TrialSpec(model=DenseSpec(), data=DataSpec(image_size_px=8))
Y = np.arange(40) % 2 == 1
SCORES = tuple(np.round(np.where(Y, 0.6, 0.3) + np.sin(np.arange(40)) * 0.25, 6).tolist())


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a trial is stored with."""

    values: tuple[float, ...]
    constraint: float
    stopped: str = "completed"


INFEASIBLE, GOOD, FAIR = (
    Judged(values=(0.99,), constraint=0.02),
    Judged(values=(0.95,), constraint=-0.01),
    Judged(values=(0.90,), constraint=0.0),
)
PRUNED = Judged(values=(0.5,), constraint=0.3, stopped="pruned")


def make(folder: Path, *found: Judged, name: str = "tiny") -> optuna.Study:
    """Store a study with these trials in a home folder."""
    home = Home(folder)
    once.lay_database(folder / "pneumo.db")
    storage = open_storage(home.storage_url)
    directions = ["maximize"] * (len(found[0].values) if found else 1)
    study = optuna.create_study(study_name=name, storage=storage, directions=directions)
    study.set_user_attr("objective", codec.to_json(OBJECTIVE))
    study.set_user_attr("definition", {"description": "made for a test", "sampler": "random", "trials": len(found)})
    study.set_user_attr("fingerprint", {"space": {"x": "float in [0, 1]"}, "data": {"images": 40}})
    for judged in found:
        add(study, home, judged)
    return study


def add(study: optuna.Study, home: Home, judged: Judged) -> None:
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.set_user_attr("spec", codec.to_json(SPEC))
    artifacts.save_result(artifacts.store(home.artifacts), trial, result(judged))
    trials.finish(study, trial, result(judged))


def result(judged: Judged) -> TrialResult:
    figures = {"recall": 0.9, "specificity": 0.85, "fnr": 0.1, "auc": 0.95, "pauc": 0.8, "threshold": 0.5}
    epoch = {"loss": 0.5, "val_loss": 0.6, "auc": 0.9}
    return TrialResult(
        values=judged.values,
        constraint=judged.constraint,
        metrics=Metrics(**figures),
        best_epoch=1,
        n_epochs=2,
        n_parameters=10,
        seconds=1.0,
        stopped=judged.stopped,  # type: ignore[arg-type]
        history=(epoch, {**epoch, "val_loss": 0.5}),
        scores=SCORES,
        environment={},
    )


def labels(folder: Path = Path("gone")) -> Labels:
    names = tuple(f"image-{i}" for i in range(len(Y)))
    x = np.random.default_rng(0).integers(0, 255, (len(Y), 8, 8, 1), np.uint8)
    validation = Validation(x=x, y=Y, paths=names, groups=names, kinds=("image",) * len(Y))
    return Labels(of=lambda _: validation, classes=("NORMAL", "PNEUMONIA"), folder=folder)
