"""A stored study without a training behind it, and an executor that makes its answers up."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import optuna

from pneumo_core.data import folds, preprocess
from pneumo_core.result import TrialResult
from pneumo_core.scoring.operating import Metrics
from pneumo_core.specs import CnnSpec, DataSpec, ObjectiveSpec, SplitSpec, TrainSpec, TrialSpec
from pneumo_core.wire import RunFold, RunTrial, Scored, Task, TrialDone, TrialError
from search import fingerprint, study, trials
from search.executors.protocol import Event
from search.finalizing.finalize import Finalizer, Options
from search.finalizing.jobs import Jobs
from search.finalizing.members import Workshop
from search.home import Home
from search.kept import KeptNetworks
from search.prepared import Prepared
from search.storage import artifacts
from search.storage.database import open_storage
from search.storage.owner import this_process
from search.stored import read
from spaces.base import Suggest
from studies.spec import SourceSpec, StudySpec
from tests.search import once

NOISE = "learning_rate"  # of a made-up model: the higher, the worse its scores


def spec_of(noise: float) -> TrialSpec:
    return TrialSpec(
        data=DataSpec(image_size_px=8), model=CnnSpec(filters=(4,)), train=TrainSpec(epochs=2, learning_rate=noise)
    )


def space(suggest: Suggest) -> TrialSpec:
    return spec_of(suggest.suggest_float(NOISE, 1e-3, 1.0))


def result(spec: TrialSpec, scores: Sequence[float] = (), constraint: float = -0.03, value: float = 0.9) -> TrialResult:
    return TrialResult(
        values=(value,),
        constraint=constraint,
        metrics=Metrics(recall=1.0, specificity=0.9, fnr=0.0, auc=0.9, pauc=0.9, threshold=0.5),
        best_epoch=1,
        n_epochs=2,
        n_parameters=10,
        seconds=1.0,
        stopped="completed",
        history=(),
        scores=tuple(scores),
        environment={"backend": "none"},
    )


@dataclass
class FakeExecutor:
    """Answers at once. `fails` are the noise levels whose trainings fail, `stop_after` ends like Ctrl-C.

    Trainings of the noise levels `hungry` run out of memory unless they are alone.
    """

    n_slots: int = 1
    fails: tuple[float, ...] = ()
    deaths: int = 0  # the first so many tasks end with a dead trainer
    damages: int = 0  # the first so many find a file of their arrays gone
    stop_after: int | None = None
    hungry: tuple[float, ...] = ()
    full_after: int | None = None  # so many tasks the disk is full
    flaw: float = 0.0  # of trained models, beside their noise
    served: Counter[str] = field(default_factory=Counter)
    served_alone: int = 0
    cancelled: list[int] = field(default_factory=list)
    _events: list[Event] = field(default_factory=list)
    _is_held: bool = False  # by a task that is alone

    @property
    def n_free(self) -> int:
        return 0 if self._is_held else self.n_slots - len(self._events)

    def submit(self, task: Task, *, alone: bool = False) -> None:
        if self.stop_after is not None and self.served.total() >= self.stop_after:
            raise KeyboardInterrupt
        assert self.n_free > 0
        self.served[task.kind] += 1
        self.served_alone += alone
        self._is_held = alone
        self._events.append(self._answer(task))

    def reply(self, number: int, *, stop: bool) -> None:
        raise AssertionError("nothing asks")

    def cancel(self, number: int) -> None:
        self.cancelled.append(number)

    def poll(self, timeout_s: float) -> Sequence[Event]:
        events, self._events, self._is_held = self._events, [], False
        return events

    def close(self) -> None:
        pass

    def _answer(self, task: Task) -> Event:
        if self.damages:
            self.damages -= 1
            next(Path(task.arrays).glob("x_*")).unlink()
            return TrialError(number=task.number, reason="bad_arrays", message="a file is missing")
        if self.deaths:
            self.deaths -= 1
            return TrialError(number=task.number, reason="child_died", message="killed")
        if isinstance(task, RunFold | RunTrial) and task.spec.train.learning_rate in self.fails:
            return TrialError(number=task.number, reason="nan_loss", message="the loss became NaN")
        if isinstance(task, RunTrial) and task.spec.train.learning_rate in self.hungry and not self._is_held:
            return TrialError(number=task.number, reason="out_of_memory", message="no memory for this trial")
        if self.full_after is not None and self.served.total() > self.full_after:
            return TrialError(number=task.number, reason="disk_full", message="No space left on device")
        arrays = Path(task.arrays)
        if isinstance(task, RunFold):
            y, groups = folds.labels(arrays)
            rows = folds.parts(y, groups, task.n_folds, task.index, task.fold_seed)[2]
            assert task.save is not None
            write_model(Path(task.save), task.spec.train.learning_rate + self.flaw)
            return Scored(number=task.number, scores=made_up(y[rows], task.spec.train.learning_rate, task.seed))
        if isinstance(task, RunTrial):
            assert task.save is not None
            write_model(Path(task.save), task.spec.train.learning_rate + self.flaw)
            y = preprocess.open_fit_arrays(arrays).y_validation
            scores = made_up(y, task.spec.train.learning_rate, task.seed)
            return TrialDone(number=task.number, result=result(task.spec, scores))
        noise = float(Path(task.model).read_text().rsplit(" ", 1)[-1])
        y = preprocess.open_role(arrays, task.role).y
        y = y if task.rows is None else y[list(task.rows)]
        seed = round(noise * 1e6)  # networks err on different images
        parts = [made_up(y, noise + (name == "dark"), seed) for name in task.shifts]
        return Scored(number=task.number, scores=tuple(score for part in parts for score in part))


def write_model(file: Path, noise: float) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"a model of noise {noise}")


def made_up(y: np.ndarray, noise: float, seed: int) -> tuple[float, ...]:
    """Return scores in (0, 1) that part the classes, blurred by `noise`."""
    logits = 4 * (y.astype(float) - 0.5) + 4 * noise * np.random.default_rng(seed).normal(size=len(y))
    return tuple((1 / (1 + np.exp(-logits))).tolist())


def stored(
    folder: Path,
    images: Path,
    noises: Sequence[float],
    *,
    constraint: float = -0.03,
    split: SplitSpec | None = None,
    keep: bool = True,
) -> tuple[optuna.Study, Prepared, Home]:
    """Store a study whose trials are complete and have `noises`, the first valued best; return it with its data.

    With `keep` the trials left their networks.
    """
    home = Home(folder / "runs")
    source = SourceSpec(source=str(images), split=split or SplitSpec())
    prepared = once.prepared(source)
    spec = StudySpec(name="made-up", space=space, data=source, objective=ObjectiveSpec())
    home.make()
    once.lay_database(home.path / "pneumo.db")
    mark = fingerprint.of_study(spec, once.draws(space)) | fingerprint.of_data(prepared.manifest, prepared.split)
    made = study.open_study(spec, open_storage(home.storage_url), mark)
    y = preprocess.open_fit_arrays(prepared.arrays_for(spec_of(1).data)).y_validation
    for i, noise in enumerate(noises):
        trial = made.ask()
        trial.suggest_float(NOISE, 1e-3, 1.0)
        trials.begin(trial, spec_of(noise), this_process())
        scores = made_up(y, noise, round(noise * 1e6))
        ended = result(spec_of(noise), scores, constraint=constraint, value=0.99 - i / 1000)
        artifacts.save_result(artifacts.store(home.artifacts), trial, ended)
        trials.finish(made, trial, ended)
        if keep:
            write_model(KeptNetworks(networks(home, made)).file(spec_of(noise).digest), noise)
    return made, prepared, home


def finalizer(
    made: optuna.Study, prepared: Prepared, home: Home, executor: FakeExecutor, said: list[str], **options: object
) -> Finalizer:
    jobs = Jobs(
        executor=executor, folder=home.path / "finalize" / "made-up", program={"backend": "none"}, mend=prepared.mend
    )
    return Finalizer(
        study=made,
        storage=open_storage(home.storage_url),
        prepared=prepared,
        jobs=jobs,
        workshop=Workshop(
            study=made,
            objective=ObjectiveSpec(),
            seed=0,
            store=artifacts.store(home.artifacts),
            kept=KeptNetworks(networks(home, made)),
            jobs=jobs,
            arrays_for=prepared.arrays_for,
            say=said.append,
        ),
        options=Options(**{"members": 3, **options}),  # type: ignore[arg-type]
        say=said.append,
    )


def networks(home: Home, made: optuna.Study) -> Path:
    """Return the folder of the networks that a study's trials left."""
    known = read(made)
    return home.networks(known.name, known.uid)
