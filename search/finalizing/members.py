"""The networks that may go into a bundle: those that a search's trials left, or, on request, of the winner's folds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
from optuna.artifacts import FileSystemArtifactStore

from pneumo_core.data import folds
from pneumo_core.errors import TrialFailed
from pneumo_core.seeds import derive
from pneumo_core.specs import DataSpec, ObjectiveSpec
from pneumo_core.wire import RunFold, RunTrial, Scored, TrialDone, TrialError
from search.finalizing.choose import Candidate, Member
from search.finalizing.jobs import Jobs
from search.kept import KeptNetworks
from search.storage import artifacts
from search.stored_trials import trial_of

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Where the networks of one study lie, and the means to train those that are missing."""

    study: optuna.Study
    objective: ObjectiveSpec
    seed: int  # of the study
    store: FileSystemArtifactStore
    kept: KeptNetworks
    jobs: Jobs
    arrays_for: Callable[[DataSpec], Path]
    say: Say

    def of_trials(self, rivals: Sequence[Candidate]) -> list[Member]:
        """Return the networks of `rivals` with what they gave to validation, trained again where one is missing.

        A trial that can't be trained again is left out. Raises `TrialFailed` where none is left.
        """
        found, failures = [], []
        for rival in rivals:
            try:
                found.append(self._as_left(rival) or self._trained_again(rival))
            except TrialFailed as error:
                self.say(f"Trial {rival.trial} is left out: {error}")
                failures.append(error)
        if not found:
            raise TrialFailed("no_candidate", f"no network is left and none could be trained: {failures[-1]}")
        return found

    def of_folds(self, winner: Candidate, n_folds: int) -> tuple[list[Member], np.ndarray, np.ndarray]:
        """Train `winner` on each of `n_folds` folds of train and validation.

        Returns the networks, and labels and scores (n,) of the images held out from each. Raises `TrialFailed`.
        """
        arrays = self.arrays_for(winner.spec.data)
        tasks = [self._fold(winner, arrays, n_folds, index) for index in range(n_folds)]
        self.say(f"Training trial {winner.trial} on {n_folds} folds of train and validation")
        members: dict[int, Member] = {}
        y, groups = folds.labels(arrays)
        scores = np.zeros(len(y))
        for position, answer in self.jobs.answers(tasks):
            if not isinstance(answer, Scored):
                raise failed(answer)
            task = tasks[position]
            _, _, rows = folds.parts(y, groups, n_folds, position, task.fold_seed)
            scores[rows] = answer.scores
            assert task.save is not None
            members[position] = Member(
                candidate=winner, network=Path(task.save), scores=np.array(answer.scores), shifted=None, environment={}
            )
            self.say(f"Fold {len(members)} of {n_folds} is trained")
        return [members[position] for position in range(n_folds)], y, scores

    def _as_left(self, rival: Candidate) -> Member | None:
        """Return the network that the trial left; None where it, or what it gave to validation, is gone."""
        network = self.kept.file(rival.digest)
        frozen = trial_of(self.study, rival.trial)
        result = artifacts.load_result(self.store, frozen, self.study._storage)
        if result is None or not network.is_file():
            return None
        return _member(rival, network, TrialDone(number=0, result=result))

    def _trained_again(self, rival: Candidate) -> Member:
        """Train a trial as the search did: same spec, seed and roles."""
        task = RunTrial(
            number=0,
            spec=rival.spec,
            objective=self.objective,
            seed=derive(self.seed, rival.digest, 0),
            arrays=str(self.arrays_for(rival.spec.data)),
        )
        file = self._file(self.jobs.identity(task))
        self.say(f"Training trial {rival.trial} again: its network is not kept here")
        for _, answer in self.jobs.answers([replace(task, save=str(file))]):
            if isinstance(answer, TrialDone):
                return _member(rival, file, answer)
            raise failed(answer)
        raise AssertionError("a job ends in an answer")

    def _fold(self, winner: Candidate, arrays: Path, n_folds: int, index: int) -> RunFold:
        task = RunFold(
            number=0,
            spec=winner.spec,
            objective=replace(self.objective, shifts=()),
            seed=derive(self.seed, winner.digest, "retrain", index),
            arrays=str(arrays),
            n_folds=n_folds,
            index=index,
            fold_seed=derive(self.seed, "retrain"),
        )
        return replace(task, save=str(self._file(self.jobs.identity(task))))

    def _file(self, identity: str) -> Path:
        return (self.jobs.folder / "models" / f"{identity}.keras").absolute()


def failed(answer: TrialDone | Scored | TrialError) -> TrialFailed:
    """Return the error of a job that ended in no answer."""
    assert isinstance(answer, TrialError)
    return TrialFailed(answer.reason, f"{answer.reason}: {answer.message}")


def _member(rival: Candidate, network: Path, done: TrialDone) -> Member:
    result = done.result
    return Member(
        candidate=rival,
        network=network,
        scores=np.array(result.scores),
        shifted=np.array(result.shifted_scores) if result.shifted_scores else None,
        environment=result.environment,
    )
