"""Studies made by hand: real storage, artifacts and images, and trials whose scores are drawn, not trained."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from optuna.storages import RDBStorage

from pneumo_core.result import Layer, Stopped, TrialResult
from pneumo_core.scoring.operating import judge, pooled
from pneumo_core.specs import CnnSpec, DataSpec, ObjectiveSpec, TrainSpec, TrialSpec
from search import fingerprint, trials
from search.home import Home
from search.prepared import Prepared
from search.report.data import ReportData
from search.report.evidence import Options
from search.report.gallery import OverlaysFor
from search.report.gather import gather
from search.report.source import images
from search.storage import artifacts, owner
from search.storage.database import open_storage
from search.study import open_study
from spaces.base import Suggest
from studies.spec import FidelitySpec, SourceSpec, StudySpec
from tests.search import once

DATA = DataSpec(image_size_px=24)
N_RESAMPLES = 40  # enough for the page, not for its reader
LAYERS = (
    Layer(name="pixels", kind="InputLayer", shape=(24, 24, 1), n_parameters=0, trains=False),
    Layer(name="block1_conv1", kind="Conv2D", shape=(12, 12, 4), n_parameters=40, trains=True),
    Layer(name="logit", kind="Dense", shape=(1,), n_parameters=3170, trains=True),
)


def space(suggest: Suggest) -> TrialSpec:
    units = (
        (suggest.suggest_int("units", 4, 64, log=True),) if suggest.suggest_categorical("dense", [True, False]) else ()
    )
    rate = suggest.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
    return TrialSpec(data=DATA, model=CnnSpec(filters=(4,), units=units), train=TrainSpec(learning_rate=rate))


@dataclass(frozen=True)
class Made:
    """A stored study over prepared images, and how to add trials to it."""

    home: Home
    storage: RDBStorage
    study: optuna.Study
    spec: StudySpec
    prepared: Prepared

    def report(self, with_data: bool = True, overlays_for: OverlaysFor | None = None) -> ReportData:
        store = artifacts.store(self.home.artifacts)
        prepared = self.prepared if with_data else None
        return gather(
            self.study,
            self.home.storage_url,
            store,
            prepared=prepared,
            options=Options(overlays_for=overlays_for, n_resamples=N_RESAMPLES),
        )

    def pause(self, quality: float, rung: int = 0) -> int:
        """Add a trial that was paused at a rung of cheap trials; returns its number."""
        return self.finish(quality, stopped="paused", n_epochs=3, rung=rung, image_size_px=16)

    def promote(self, number: int) -> None:
        """Queue the next stage of a paused trial, which the next `finish` then is."""
        trials.promote(self.study, self.study.get_trials(deepcopy=False)[number])

    def ask(self) -> tuple[optuna.Trial, TrialSpec]:
        """Begin a trial and leave it running."""
        trial = self.study.ask()
        spec = space(trial)
        trials.begin(trial, spec, owner.this_process())
        return trial, spec

    def finish(self, quality: float, stopped: Stopped = "completed", n_epochs: int = 4, **more: object) -> int:
        """Add a trial whose scores separate the classes by `quality` standard deviations; returns its number."""
        trial, _ = self.ask()
        for epoch in range(n_epochs):
            if len(self.study.directions) == 1:
                trial.report(0.5 + 0.1 * epoch, epoch)
        result = self.result(quality, seed=trial.number, stopped=stopped, n_epochs=n_epochs)
        artifacts.save_result(artifacts.store(self.home.artifacts), trial, result)
        trials.finish(self.study, trial, result, **more)
        return trial.number

    def fail(self, reason: str = "nan_loss", message: str = "the loss is not a number") -> int:
        trial, _ = self.ask()
        trials.fail(self.study, trial.number, reason, message)
        return trial.number

    def result(self, quality: float, seed: int, stopped: Stopped, n_epochs: int) -> TrialResult:
        y = images(self.prepared, DATA, self.spec.folds).validation.y
        noise = np.random.default_rng(seed).normal(size=len(y))
        scores = np.round(1 / (1 + np.exp(-(quality * (y - 0.5) + noise))), 6)
        shifted = None  # the same, less well told apart
        if self.spec.objective.shifts and self.spec.folds is None:
            shifted = np.round(1 / (1 + np.exp(-(0.6 * quality * (y - 0.5) + noise[::-1]))), 6)
        judged = judge(*pooled(y, scores, shifted), self.spec.objective)
        epoch = {"loss": 0.5, "val_loss": 0.6, "auc": judged.metrics.auc, "seconds": 1.0}
        return TrialResult(
            values=judged.values,
            constraint=judged.constraint,
            metrics=judged.metrics,
            best_epoch=n_epochs,
            n_epochs=n_epochs,
            n_parameters=sum(layer.n_parameters for layer in LAYERS),
            seconds=2.5,
            stopped=stopped,
            history=tuple(epoch for _ in range(n_epochs)),
            scores=tuple(scores.tolist()),
            shifted_scores=() if shifted is None else tuple(shifted.tolist()),
            environment={"backend": "none", "devices": "CPU"},
            n_folds=self.spec.folds,
            layers=LAYERS,
        )


def make(
    folder: Path,
    source: Path,
    name: str = "made",
    objective: ObjectiveSpec | None = None,
    n_folds: int | None = None,
    fidelity: FidelitySpec | None = None,
) -> Made:
    """Return a study without trials in `folder`, on the images of `source`."""
    home = Home(folder)
    home.check_writable()
    spec = StudySpec(
        name=name,
        space=space,
        data=SourceSpec(source=str(source)),
        objective=objective or ObjectiveSpec(),
        folds=n_folds,
        fidelity=fidelity,
    )
    prepared = once.prepared(spec.data)
    once.lay_database(folder / "pneumo.db")
    storage = open_storage(home.storage_url)
    mark = fingerprint.of_study(spec, once.draws(space)) | fingerprint.of_data(prepared.manifest, prepared.split)
    return Made(home=home, storage=storage, study=open_study(spec, storage, mark), spec=spec, prepared=prepared)
