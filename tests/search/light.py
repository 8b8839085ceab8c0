"""Light studies: the real coordinator, storage and child processes around the light trainer."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from pneumo_core.result import TrialResult
from pneumo_core.seeds import derive
from pneumo_core.specs import DataSpec, TrialSpec
from search import factory, promotion, trials
from search.coordinator import Coordinator, Ending
from search.executors.local import Child, Limits, LocalExecutor
from search.executors.protocol import Executor
from search.kept import KeptNetworks
from search.stopping import polite_stop
from search.storage import artifacts
from search.storage.database import open_storage
from search.study import open_study
from search.watching.views import View
from spaces.base import Parameter, Suggest
from studies.spec import BudgetSpec, PrunerSpec, SamplerSpec, Space, StudySpec
from tests.search import light_trainer, once
from tests.search.light_trainer import Fault

ROOT = Path(__file__).parents[2]
TRAINER = (sys.executable, "-m", "tests.search.light_trainer")
TAG = "LIGHT_TAG"  # environment variable by which a test finds its processes


def space(suggest: Suggest) -> TrialSpec:
    return light_trainer.spec(suggest.suggest_float("x", 1e-6, 1.0, log=True))


@dataclass(frozen=True)
class Faulty:
    """A space whose every trial has one fault, with something to search beside it."""

    fault: Fault
    once: bool = False
    epochs: int = 3

    def __call__(self, suggest: Suggest) -> TrialSpec:
        x = suggest.suggest_float("x", 1e-6, 1.0, log=True)
        return light_trainer.spec(x, fault=self.fault, once=self.once, epochs=self.epochs)


@dataclass(frozen=True)
class Mixed:
    """A space that draws the fault as well."""

    faults: tuple[str, ...]
    epochs: int = 3

    def __call__(self, suggest: Suggest) -> TrialSpec:
        fault = Fault[suggest.suggest_categorical("fault", self.faults)]
        x = suggest.suggest_float("x", 1e-6, 1.0, log=True)
        return light_trainer.spec(x, fault=fault, epochs=self.epochs)


def study(space: Space = space, *, n_trials: int = 4, name: str = "light", **more: Any) -> StudySpec:
    budget = {"trials": n_trials, "max_retries": 2, **more.pop("budget", {})}
    return StudySpec(
        name=name,
        space=space,
        budget=BudgetSpec(**budget),
        **{"sampler": SamplerSpec(kind="random"), "pruner": PrunerSpec(kind="none")} | more,
    )


class SilentView(View):
    """A `View` that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def started(self, number: int, spec: TrialSpec) -> None:
        self.told.append(("started", number))

    def epoch(self, number: int, epoch: int, metrics: Mapping[str, float]) -> None:
        self.told.append(("epoch", number, epoch))

    def finished(self, number: int, result: TrialResult) -> None:
        self.told.append(("finished", number))

    def failed(self, number: int, reason: str, message: str) -> None:
        self.told.append(("failed", number, reason, message))

    def ended(self, number: int, what: str) -> None:
        self.told.append(("ended", number, what))


Environment = frozenset[tuple[str, str]]
_idle: dict[Environment, list[Child]] = {}


class Lasting(LocalExecutor):
    """Leaves its idle trainers to the next search of this process: a start takes longer than most of their trials."""

    def close(self) -> None:
        for slot, child in list(self._children.items()):
            if tuple(self.command) == TRAINER and child.ready and child.number is None and not child.alone:
                _idle.setdefault(self._environment(slot), []).append(self._children.pop(slot))
        super().close()

    def _spawn(self, slot: int, alone: bool) -> Child:
        idle = _idle.get(self._environment(slot), []) if tuple(self.command) == TRAINER and not alone else []
        while idle:
            child = idle.pop()
            if child.process.poll() is None:
                child.count_kills()
                return child
            child.kill()
        return super()._spawn(slot, alone)

    def _environment(self, slot: int) -> Environment:
        return frozenset(self.environments[slot].items())


def end_idle() -> None:
    for children in _idle.values():
        while children:
            children.pop().kill()


def executor(folder: Path, n_slots: int = 2) -> Lasting:
    """Return an executor for the searches of a test; its trainers may have served another one before."""
    return Lasting(environments=[environment()] * n_slots, logs=folder / "logs", command=TRAINER)


def fresh_executor(folder: Path, n_slots: int = 2, limits: Limits | None = None, **more: str) -> LocalExecutor:
    """Return an executor whose trainers are its own, from their start to their end."""
    return LocalExecutor(
        environments=[environment() | more] * n_slots, logs=folder / "logs", command=TRAINER, limits=limits or Limits()
    )


def environment() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass
class Search:
    """One coordinator of a light study in `folder`, ready to run."""

    folder: Path
    spec: StudySpec = field(default_factory=study)
    url: str = ""
    mark: Mapping[str, Any] | None = None
    runner: Executor | None = None
    stop_asked: Callable[[], bool] = lambda: False
    heartbeat_s: float = 15.0
    grace_s: float = 180.0
    view: SilentView = field(default_factory=SilentView)
    parameters: dict[str, Parameter] = field(
        default_factory=lambda: {"x": Parameter(kind="float", low=1e-6, high=1.0, log=True)}
    )
    sizes_px: list[int] = field(default_factory=list)  # of the arrays that were asked for

    def __post_init__(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        if not self.url:
            once.lay_database(self.folder / "light.db")
            self.url = f"sqlite:///{self.folder / 'light.db'}"
        self.storage = open_storage(self.url)
        self.study = open_study(self.spec, self.storage, dict(self.mark or {"study": {"name": self.spec.name}}))
        self.study.pruner = factory.pruner(self.spec.pruner, 3, self.spec.folds, self.spec.fidelity)
        self.coordinator = Coordinator(
            study=self.study,
            storage=self.storage,
            spec=self.spec,
            parameters=self.parameters,
            executor=self.runner or executor(self.folder),
            arrays_for=self.arrays_for,
            checkpoints=self.folder / "checkpoints",
            networks=KeptNetworks(self.folder / "networks"),
            artifacts=artifacts.store(self.folder / "artifacts"),
            view=self.view,
            stop_asked=self.stop_asked,
            heartbeat_s=self.heartbeat_s,
            grace_s=self.grace_s,
            disk_pause_s=0.1,
        )

    def arrays_for(self, data: DataSpec) -> Path:
        self.sizes_px.append(data.image_size_px)
        return self.folder

    def run(self) -> Ending:
        try:
            return self.coordinator.run()
        finally:
            self.close()

    def close(self) -> None:
        """Give up the connections, which come back when they are needed."""
        self.storage.remove_session()
        self.storage.engine.dispose()

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    @property
    def current(self) -> list[FrozenTrial]:
        return trials.current(self.trials)


def coordinate(folder: Path, spec: StudySpec, url: str, n_slots: int, tag: str, epoch_s: float, ray: str = "") -> None:
    """Run a coordinator to its end: what a process of its own does. `ray` is the address of a cluster."""
    own = {TAG: tag, light_trainer.EPOCH_S: str(epoch_s)}
    try:
        with polite_stop() as stop_asked:
            runner = on_ray(ray, n_slots, own) if ray else fresh_executor(folder, n_slots, **own)
            ending = Search(
                folder, spec, url, runner=runner, stop_asked=stop_asked, heartbeat_s=0.5, grace_s=30.0
            ).run()
    except Exception as error:
        print(f"a coordinator ended: {type(error).__name__}: {str(error).splitlines()[:1]}", file=sys.stderr)
        sys.exit(1)
    sys.exit(130 if ending == "interrupted" else 0)


def on_ray(address: str, n_slots: int, environment: Mapping[str, str]) -> Executor:
    from search.executors import ray_cluster

    ray_cluster.join(address, namespace="pneumo")
    return ray_cluster.RayExecutor(
        n_slots=n_slots,
        share=ray_cluster.Share(n_cpus=1.0),
        environment={"PYTHONPATH": str(ROOT), **environment},
        command=TRAINER,
    )


def processes(tag: str) -> list[int]:
    """Return the live processes whose environment has the tag."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if f"{TAG}={tag}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What became of the trials of a study."""

    n_lost: int  # that never finished, or of which there are too few
    n_twice: int  # that finished more than once, or that the budget has no room for
    n_changed: int  # whose value is not that of an unbroken run


def tally(found: Search) -> Tally:
    """Count the trials that did not finish exactly once with the value that an unbroken run comes to.

    Of a study with cheap trials first, only whether there is any.
    """
    if found.spec.fidelity is not None:
        try:
            assert_staged(found)
        except AssertionError as error:
            print(error)
            return Tally(n_lost=0, n_twice=0, n_changed=1)
        return Tally(n_lost=0, n_twice=0, n_changed=0)
    chains: dict[int, list[FrozenTrial]] = {}
    for trial in found.trials:
        chains.setdefault(trials.root(trial), []).append(trial)
    done = [
        [trial for trial in members if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        for members in chains.values()
    ]
    found.close()
    n_trials = found.spec.budget.trials
    return Tally(
        n_lost=sum(not ends for ends in done) + max(0, n_trials - len(chains)),
        n_twice=sum(len(ends) > 1 for ends in done) + max(0, len(chains) - n_trials),
        n_changed=sum(end.user_attrs["n_parameters"] != expected(found.spec, end) for ends in done for end in ends[:1]),
    )


def assert_whole(found: Search) -> None:
    """Check that every trial finished exactly once, with the value that an unbroken run comes to."""
    assert tally(found) == Tally(n_lost=0, n_twice=0, n_changed=0)
    assert all(trial.state.is_finished() for trial in found.trials)
    found.close()


def assert_staged(found: Search, *, exact: bool = True) -> None:
    """Check that every configuration was paused, promoted and finished once at most, without a lost epoch."""
    fidelity, every = found.spec.fidelity, found.trials
    assert fidelity is not None
    assert len({trials.root(trial) for trial in every}) == len(found.current) == found.spec.budget.trials
    assert all(trial.state.is_finished() for trial in every)
    continued = [trials.history(trial)[-1] for trial in every if trials.history(trial)]
    assert len(continued) == len(set(continued)), "a trial was continued twice"
    done = [trial for trial in every if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    stages = [(trials.root(trial), trials.stage(trial)) for trial in done]
    assert len(stages) == len(set(stages)), "a stage was run twice"
    for trial in done:
        reached = trial.user_attrs["n_parameters"] == expected(found.spec, trial)
        assert reached or not exact, f"trial {trial.number} skipped an epoch"
        assert (trials.rung(trial) is None) == (trial.state == TrialState.COMPLETE)
    assert promotion.next_trial(promotion.reached(every, fidelity.n_rungs), fidelity.reduction_factor, 99) is None
    found.close()


def expected(spec: StudySpec, trial: FrozenTrial) -> int:
    """Return what the unbroken run of the trial comes to."""
    steps = len(trial.intermediate_values)
    return light_trainer.chain(derive(spec.seed, trial.user_attrs["spec_digest"], 0), steps)


def wait_for(condition: Callable[[], bool], timeout_s: float = 240.0) -> None:
    """Wait until `condition` holds; the timeout is a safety net."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "nothing happened for too long"
        time.sleep(0.01)


def with_budget(spec: StudySpec, **budget: Any) -> StudySpec:
    return replace(spec, budget=replace(spec.budget, **budget))
