"""One trial of a search: the point that was drawn, and what the coordinator knows while it is trained."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from pneumo_core.errors import StorageError, StudyError, TrialFailed, describe, message_of
from pneumo_core.specs import DataSpec, Stage, TrialSpec
from pneumo_core.wire import EpochDone
from search import promotion, trials
from studies.spec import StudySpec

FATAL = "fatal"  # reason of a refusal that ends the search


@dataclass(frozen=True, kw_only=True)
class Point:
    """What a space makes of the values that were suggested."""

    spec: TrialSpec
    stage: Stage
    data: DataSpec  # of the images that it is trained on in this stage


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why the suggested values make no trial."""

    reason: str
    message: str


def draw(study: StudySpec, trial: optuna.Trial, stage: int) -> Point | Refusal:
    """Return the point of `trial` in a stage; raises what the storage raises, and nothing else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # queued points with a value that the space no longer allows
            spec = study.space(trial)
        of_stage, data = promotion.stage_of(study.fidelity, spec, stage)
    except (StorageInternalError, SQLAlchemyError, StorageError, UpdateFinishedTrialError):
        raise
    except StudyError as error:
        return Refusal(reason=FATAL, message=message_of(error))
    except TrialFailed as error:
        return Refusal(reason=str(error.reason), message=message_of(error))
    except (Exception, SystemExit) as error:  # `sys.exit` in a space ends its trial, not the search
        return Refusal(reason="bad_spec", message=describe(error))
    return Point(spec=spec, stage=of_stage, data=data)


@dataclass
class Running:
    """A trial that the executor works on for this coordinator."""

    trial: optuna.Trial
    point: Point
    checkpoint: Path
    alone: bool = False
    takes_reports: bool = True  # Optuna takes none where there are two objectives
    reported: set[int] = field(default_factory=set)

    def replay(self, history: Sequence[int], known: Iterable[FrozenTrial]) -> None:
        """Report again what the trials that it continues reported, so that the pruner sees one unbroken trial.

        All of them count: the last may have been killed in the middle of this.
        """
        if not self.takes_reports:
            return
        before = {trial.number: trial.intermediate_values for trial in known if trial.number in history}
        reports = {step: value for number in history for step, value in before.get(number, {}).items()}
        for step, value in sorted(reports.items()):
            self.trial.report(value, step)
            self.reported.add(step)
            self.trial.should_prune()  # some pruners take notes when asked

    def judge(self, event: EpochDone) -> bool:
        """Report an epoch, and return whether to stop."""
        if event.epoch < max(self.reported, default=0):
            return False  # it starts over, because its checkpoint was damaged, and was judged here before
        is_new = event.epoch not in self.reported
        self.reported.add(event.epoch)
        if not self.takes_reports:
            if is_new:
                self.trial.set_user_attr(trials.REACHED, event.epoch + 1)
            return False
        if is_new:
            self.trial.report(event.metrics["pruning_metric"], event.epoch)
        return bool(self.trial.should_prune())  # some pruners return a NumPy bool
