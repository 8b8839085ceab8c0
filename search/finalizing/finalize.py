"""From a finished search to one bundle: confirm, choose, certify, open the test role once, write.

Every step's work is kept under `home/finalize/STUDY/`, so that a finalize that was killed goes on where it stood.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import RDBStorage

from pneumo_core import codec
from pneumo_core.bundles import bundle as bundles
from pneumo_core.bundles.bundle import Bundle, Member
from pneumo_core.bundles.promise import promise
from pneumo_core.data import folds, preprocess
from pneumo_core.data.preprocess import PREPROCESSING_VERSION, RoleArrays
from pneumo_core.data.split import Role
from pneumo_core.errors import StudyError, TrialFailed
from pneumo_core.result import TrialResult
from pneumo_core.scoring.assess import assess
from pneumo_core.seeds import derive
from pneumo_core.specs import ObjectiveSpec, SplitSpec, check_range
from pneumo_core.wire import RunTrial, Scored, ScoreRole, TrialDone, TrialError
from search import fingerprint, openings
from search.finalizing import model_card, traces, under_shifts
from search.finalizing.choose import Choice, choose
from search.finalizing.confirm import Candidate, Confirmed, FoldPlan, candidates, confirm
from search.finalizing.jobs import Jobs
from search.finalizing.threshold import Settled, settle
from search.prepared import Prepared

Say = Callable[[str], None]
Extra = Callable[[Path], None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user may decide."""

    top: int = 5  # trials to confirm
    n_folds: int = 3
    n_seeds: int = 2  # 3 folds alone are too few for the signed-rank test to drop anyone
    ceiling: float | None = None  # of the false-negative rate; None: the study's
    confidence: float = 0.95
    under_shifts: bool = False  # certify for changed images as well, see `under_shifts`

    def __post_init__(self) -> None:
        check_range("top", self.top, 1, 1000)
        check_range("folds", self.n_folds, 2, 100)
        check_range("seeds", self.n_seeds, 1, 100)
        if self.ceiling is not None:
            check_range("ceiling", self.ceiling, 0.0001, 0.9999)
        check_range("confidence", self.confidence, 0.5, 0.99999)


@dataclass(frozen=True, kw_only=True, repr=False)
class Finalized:
    """The bundle, where it is, and whether it had been there already."""

    bundle: Bundle
    folder: Path
    was_there: bool = False

    def __repr__(self) -> str:
        test = self.bundle.test
        figures = ", ".join(f"{name} {test[name]:.4f}" for name in ("recall", "specificity", "auc"))
        return f"{self.folder}: threshold {self.bundle.threshold:.6g}; test: {figures}\n{promise(self.bundle)}"

    def _repr_markdown_(self) -> str:
        """Say the same in a notebook; the promise is Markdown already."""
        return repr(self).replace("\n", "\n\n")


@dataclass(frozen=True, kw_only=True)
class Finalizer:
    """A stored study with its data and the means to train; `run` makes the bundle."""

    study: optuna.Study
    storage: RDBStorage
    prepared: Prepared
    jobs: Jobs
    options: Options
    say: Say
    extra: Extra | None = None  # writes more files into the bundle before it is sealed, such as the report

    def run(self, out: Path) -> Finalized | None:
        """Return the bundle made in `out`; None where no trial is feasible.

        Raises `StorageError` where `out` holds something else than the bundle of this very finalize, `StudyError`
        where the data isn't the study's, `TrialFailed` where no candidate can be trained.
        """
        _refuse_other_data(self.study, self.prepared)
        rivals = candidates(self.study.get_trials(deepcopy=False), self.options.top)
        if not rivals:
            return None
        name = self._id(rivals)
        if (there := _already(out, name)) is not None:
            return Finalized(bundle=there, folder=out, was_there=True)
        found = self._confirm(rivals)
        choice = self._choose(found)
        self.say(_describe_choice(choice))
        draft, models = self._draft(name, found, choice)
        self.say(_describe_threshold(draft))
        whole = self._open_test(draft, models, out)
        return Finalized(bundle=self._write(whole, models, out), folder=out)

    @property
    def objective(self) -> ObjectiveSpec:
        return codec.from_json(ObjectiveSpec, self.study.user_attrs["objective"])

    @property
    def ceiling(self) -> float:
        return self.objective.fnr_ceiling if self.options.ceiling is None else self.options.ceiling

    @property
    def _mark(self) -> Mapping[str, Any]:
        mark: Mapping[str, Any] = self.study.user_attrs["fingerprint"]
        return mark

    def _id(self, rivals: Sequence[Candidate]) -> str:
        asked = codec.to_json(self.options) | {"ceiling": self.ceiling}
        return codec.digest([self._mark, asked, [rival.spec.digest for rival in rivals], PREPROCESSING_VERSION])

    def _arrays(self, candidate: Candidate) -> Path:
        return self.prepared.arrays_for(candidate.spec.data)

    def _confirm(self, rivals: Sequence[Candidate]) -> list[Confirmed]:
        options = self.options
        plan = FoldPlan(n_folds=options.n_folds, n_seeds=options.n_seeds, seed=self._mark["study"]["seed"])
        n_trainings = len(rivals) * len(plan.steps())
        self.say(f"Confirming {len(rivals)} trials on {options.n_folds} folds × {options.n_seeds} seeds: {n_trainings}")
        found = confirm(rivals, self.jobs, plan, self.objective, self.prepared.arrays_for, self.say)
        if found[0].fate != "confirmed":
            raise TrialFailed("no_candidate", f"no candidate could be confirmed; the last failed: {found[-1].message}")
        return found

    def _choose(self, found: Sequence[Confirmed]) -> Choice:
        confirmed = [rival for rival in found if rival.fate == "confirmed"]
        y, groups = folds.labels(self._arrays(confirmed[0].candidate))
        return choose(confirmed, y, groups, self.objective)

    def _draft(self, name: str, found: Sequence[Confirmed], choice: Choice) -> tuple[Bundle, dict[str, Path]]:
        """Train the chosen for good and set the threshold: all that is settled before the test role is opened."""
        chosen = [rival.candidate for rival in choice.members]
        trained = [self._train(candidate) for candidate in chosen]
        names = ["model.keras"] if len(chosen) == 1 else [f"model-{i}.keras" for i in range(1, len(chosen) + 1)]
        models = dict(zip(names, (file for file, _ in trained), strict=True))
        members = tuple(
            Member(file=file, data=candidate.spec.data, trial=candidate.trial, spec=candidate.spec)
            for file, candidate in zip(names, chosen, strict=True)
        )
        n_uses = openings.log(self.study, self.storage, self.prepared, "calibration", bundle=name)
        settled = self._settle(members, models, [result for _, result in trained])
        draft = Bundle(
            study=self.study.study_name,
            finalize_id=name,
            negative=self._mark["data"]["negative"],
            positive=self._mark["data"]["positive"],
            members=members,
            objective=self.objective,
            threshold=settled.threshold,
            guarantee=settled.guarantee,
            ceiling=self.ceiling,
            confidence=self.options.confidence,
            certificates={certificate.unit: certificate for certificate in settled.certificates},
            calibration=settled.counts,
            n_calibration_uses=n_uses,
            shifts=settled.shifts,
            fingerprint=self._mark,
            environment={**trained[0][1].environment, "pneumo-search": metadata.version("pneumo-search")},
            selection=_selection(self.options, found, choice, settled),
            files={file: bundles.facts_of(path) for file, path in models.items()},
        )
        return draft, models

    def _train(self, candidate: Candidate) -> tuple[Path, TrialResult]:
        """Train a candidate as the search did: same spec, seed and roles. Returns its model and its result."""
        task = RunTrial(
            number=0,
            spec=candidate.spec,
            objective=self.objective,
            seed=derive(self._mark["study"]["seed"], candidate.spec.digest, 0),
            arrays=str(self._arrays(candidate)),
        )
        file = self.jobs.folder / "models" / f"{self.jobs.identity(task)}.keras"
        self.say(f"Training trial {candidate.trial} for the bundle")
        for _, answer in self.jobs.answers([replace(task, save=str(file.absolute()))]):
            if isinstance(answer, TrialDone):
                return file, answer.result
            _fail(answer)
        raise AssertionError("a job ends in an answer")

    def _settle(self, members: Sequence[Member], models: Mapping[str, Path], results: list[TrialResult]) -> Settled:
        validation = self._role(members, "validation")
        scores = np.mean([result.scores for result in results], axis=0)
        calibration: RoleArrays | None = None
        calibration_scores: Mapping[str, np.ndarray] = {}
        if "calibration" in self.prepared.split.roles:
            calibration = self._role(members, "calibration")
            calibration_scores = under_shifts.of_calibration(
                calibration,
                self._scores(members, models, "calibration"),
                under_shifts.stated(self.objective) if self.options.under_shifts else (),
                lambda role, shift, rows: self._scores(members, models, role, shift, rows),
            )
        return settle(
            self.objective,
            (validation.y, scores),
            calibration,
            calibration_scores,
            ceiling=self.ceiling,
            confidence=self.options.confidence,
            leaks=self.prepared.split.leaks,
            patients_known=traces.patients_known(self.prepared, "calibration"),
        )

    def _role(self, members: Sequence[Member], role: Role) -> RoleArrays:
        return preprocess.open_role(self.prepared.arrays_for(members[0].data), role)

    def _scores(
        self,
        members: Sequence[Member],
        models: Mapping[str, Path],
        role: Role,
        shift: str = "",
        rows: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Return the bundle's scores of a role, or of some `rows` of it under a shift, (n,): the mean over members."""
        tasks = [
            ScoreRole(
                number=0,
                model=str(models[member.file].absolute()),
                arrays=str(self.prepared.arrays_for(member.data)),
                role=role,
                shift=shift,
                rows=None if rows is None else tuple(rows),
            )
            for member in members
        ]
        scores: dict[int, tuple[float, ...]] = {}
        for position, answer in self.jobs.answers(tasks):
            if isinstance(answer, Scored):
                scores[position] = answer.scores
            else:
                _fail(answer)
        return np.asarray(np.mean([scores[position] for position in range(len(tasks))], axis=0))

    def _open_test(self, draft: Bundle, models: Mapping[str, Path], out: Path) -> Bundle:
        """Log that the test role is opened, then score it once."""
        n_openings = openings.log(
            self.study, self.storage, self.prepared, "test", bundle=draft.frozen, out=str(out.absolute())
        )
        if n_openings > 1:
            self.say(
                f"The images of the test role have been seen {n_openings} times with this one, over all studies: "
                "figures flatter the more, the more often a choice was made after a look"
            )
        role = self._role(draft.members, "test")
        found = assess(
            role.y,
            self._scores(draft.members, models, "test"),
            np.array(role.groups),
            np.array(role.kinds),
            threshold=draft.threshold,
            ceiling=draft.ceiling,
            confidence=draft.confidence,
        )
        shifted = under_shifts.of_test(
            role,
            draft.threshold,
            draft.confidence,
            lambda name, shift, rows: self._scores(draft.members, models, name, shift, rows),
        )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return replace(draft, test=codec.to_json(found), under_shifts=shifted, n_test_openings=n_openings, created=now)

    def _write(self, whole: Bundle, models: Mapping[str, Path], out: Path) -> Bundle:
        facts = model_card.facts(self.study, self.prepared)

        def fill(folder: Path) -> None:
            for name, file in models.items():
                shutil.copyfile(file, folder / name)
            (folder / bundles.CARD).write_text(model_card.card(whole, facts), "utf-8")
            traces.leave(folder, self.prepared, lambda role: self._scores(whole.members, models, role))
            if self.extra is not None:
                bundles.seal(folder, whole)  # the report has its networks show where they look
                self.extra(folder)

        return bundles.write(out, whole, fill)


def split_of(study: optuna.Study) -> SplitSpec:
    """Return how the stored study divided its images."""
    stored = dict(study.user_attrs["fingerprint"]["split"])
    stored.pop("digest", None)
    return codec.from_json(SplitSpec, stored)


def _refuse_other_data(study: optuna.Study, prepared: Prepared) -> None:
    stored = study.user_attrs["fingerprint"]
    given = fingerprint.of_data(prepared.manifest, prepared.split)
    if lines := fingerprint.differences({key: stored[key] for key in given}, given):
        raise StudyError(
            f"these are not the images of study {study.study_name!r}:\n  "
            + "\n  ".join(lines)
            + "\nGive the same source with --data."
        )


def _already(out: Path, name: str) -> Bundle | None:
    """Return the bundle in `out` where this finalize made it; raise where something else is there."""
    if (out / bundles.FILE).is_file():
        found = bundles.read(out)
        if found.finalize_id == name:
            return found
    bundles.check_free(out)
    return None


def _fail(answer: TrialDone | Scored | TrialError) -> None:
    assert isinstance(answer, TrialError)
    raise TrialFailed(answer.reason, f"{answer.reason}: {answer.message}")


def _selection(options: Options, found: Sequence[Confirmed], choice: Choice, settled: Settled) -> dict[str, Any]:
    return {
        "options": codec.to_json(options),
        "candidates": [
            {
                "trial": rival.candidate.trial,
                "value_in_search": rival.candidate.value,
                "fate": rival.fate,
                "n_trainings": len(rival.steps),
                "mean": rival.mean if rival.steps else None,
                "spread": rival.spread if rival.steps else None,
                "mean_constraint": rival.mean_constraint if rival.steps else None,
                "message": rival.message,
            }
            for rival in found
        ],
        "gains_of_averaging": codec.to_json(choice.gains),
        "validation": codec.to_json(settled.validation),
        "calibration_specificity": settled.calibration_specificity,
    }


def _describe_choice(choice: Choice) -> str:
    numbers = ", ".join(str(found.candidate.trial) for found in choice.members)
    if len(choice.members) > 1:
        return f"Chosen: the average of trials {numbers}: better than the best alone beyond noise"
    tried = "; no average is better beyond noise" if choice.gains else ""
    return f"Chosen: trial {numbers}{tried}"


def _describe_threshold(draft: Bundle) -> str:
    certificates = map(str, draft.certificates.values())
    return "\n".join([*certificates, f"Threshold {draft.threshold:.6g}. {promise(draft).replace('*', '')}"])
