"""The members of a bundle: the best few different trials, averaged unless that is worse than the best alone.

One training varies by more outside its archive than validation can show (there ± .014 in AUC where all were .998
inside), and an average of different ones does not. So several are taken unless they do harm, not where a gain is
certain: inside one archive none ever is. `docs/results.md` compares this rule with a greedy choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from optuna.trial import FrozenTrial

from pneumo_core.scoring import operating
from pneumo_core.scoring.average import average
from pneumo_core.scoring.intervals import percentile_interval, resamples
from pneumo_core.scoring.metrics import Floats
from pneumo_core.specs import ObjectiveSpec, TrialSpec
from search import records, stored_trials

CONFIDENCE = 0.95
N_RESAMPLES = 500


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A trial that may end up in the bundle."""

    trial: int
    value: float  # in the search
    spec: TrialSpec
    digest: str  # of the spec as it was stored: it names the network and the seed, whatever fields a spec has now


@dataclass(frozen=True, kw_only=True)
class Member:
    """A chosen candidate with its network and what that gives to the validation images."""

    candidate: Candidate
    network: Path
    scores: Floats  # (n,)
    shifted: Floats | None  # (n,) of the same images, each under its shift
    environment: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Gain:
    """The average's pruning metric less that of the best member alone, on validation; an interval over patients."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the bundle is made of, best first."""

    members: tuple[Member, ...]
    gain: Gain | None  # None where there was one to choose from


def candidates(study: str, found: Sequence[FrozenTrial], most: int) -> list[Candidate]:
    """Return the best `most` feasible trials, best first; trials of the same spec count once."""
    unique: dict[str, Candidate] = {}
    for trial in records.ranked(list(found)):
        found_one = candidate(study, trial, value=sum(trial.values))
        unique.setdefault(found_one.digest, found_one)
    return list(unique.values())[:most]


def candidate(study: str, trial: FrozenTrial, *, value: float = 0.0) -> Candidate:
    """Return a trial as one that may end up in a bundle; raises `StudyError` where it has no spec."""
    spec = stored_trials.spec_of(study, trial)
    digest = str(trial.user_attrs.get("spec_digest", spec.digest))
    return Candidate(trial=trial.number, value=value, spec=spec, digest=digest)


def choose(members: Sequence[Member], y: np.ndarray, groups: np.ndarray, objective: ObjectiveSpec) -> Choice:
    """Return all of `members`, or the first alone where averaging is worse beyond noise on validation.

    `y` and `groups` (n,) are those of the validation images.
    """
    if len(members) == 1:
        return Choice(members=tuple(members), gain=None)
    found = gain(members, y, groups, objective)
    return Choice(members=tuple(members[:1] if found.high < 0 else members), gain=found)


def gain(members: Sequence[Member], y: np.ndarray, groups: np.ndarray, objective: ObjectiveSpec) -> Gain:
    """Return what averaging `members` adds to the first alone; a patient's images are drawn together."""
    labels, alone = pooled(members[:1], y)
    _, together = pooled(members, y)
    patients = np.tile(groups, len(labels) // len(groups))

    def difference(rows: np.ndarray) -> float:
        of = [operating.pruning_metric(labels[rows], scores[rows], objective) for scores in (together, alone)]
        return of[0] - of[1]

    drawn = [difference(rows) for rows in resamples(labels, patients, seed=0, n_resamples=N_RESAMPLES)]
    interval = percentile_interval("gain", drawn, CONFIDENCE)
    return Gain(mean=difference(np.arange(len(labels))), low=interval.low, high=interval.high)


def pooled(members: Sequence[Member], y: np.ndarray) -> tuple[np.ndarray, Floats]:
    """Return labels and scores of the average of `members`, shifted images included where all were judged by them."""
    shifted = [member.shifted for member in members if member.shifted is not None]
    whole = average(shifted) if len(shifted) == len(members) else None
    return operating.pooled(y, average([member.scores for member in members]), whole)
