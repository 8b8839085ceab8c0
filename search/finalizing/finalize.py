"""From a finished search to one bundle: choose, average, certify, open the test role once, write.

Nothing is trained unless asked for: the members are networks that the search's own trials left. Every step's work is
kept under `home/finalize/STUDY/`, so that a killed finalize resumes.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from pneumo_core import codec
from pneumo_core.bundles import bundle as bundles
from pneumo_core.bundles.bundle import Bundle
from pneumo_core.bundles.promise import promise
from pneumo_core.checked import check_range
from pneumo_core.data import preprocess
from pneumo_core.data.preprocess import RoleArrays
from pneumo_core.data.rows import PREPROCESSING_VERSION
from pneumo_core.data.split import Role
from pneumo_core.errors import StudyError
from pneumo_core.models import compact
from pneumo_core.scoring.assess import assess
from pneumo_core.scoring.average import average
from pneumo_core.specs import ObjectiveSpec
from pneumo_core.wire import Scored, ScoreRole
from search import fingerprint, openings, stored
from search.finalizing import card_facts, model_card, separate, traces, under_shifts
from search.finalizing.choose import Candidate, Choice, Member, candidates, choose, pooled
from search.finalizing.jobs import Jobs
from search.finalizing.members import Say, Workshop, failed
from search.finalizing.threshold import Settled, settle
from search.prepared import Prepared
from search.storage.patience import PatientStorage
from search.stored import StoredStudy
from search.stored_trials import trials_of

Extra = Callable[[Path], None]
N_PROBES = 256  # validation images, evenly drawn, whose scores say how far weights may be rounded


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user may decide."""

    members: int = 5  # networks to average: the gain of more is small, and each costs its time at every prediction
    retrain: bool = False  # train the winner on so many folds instead of taking the networks of the trials
    ceiling: float | None = None  # of the false-negative rate; None: the study's
    confidence: float = 0.95
    under_shifts: bool = False  # certify for changed images as well, see `under_shifts`

    def __post_init__(self) -> None:
        check_range("members", self.members, 2 if self.retrain else 1, 100)
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
    storage: PatientStorage
    prepared: Prepared
    jobs: Jobs
    workshop: Workshop
    options: Options
    say: Say
    extra: Extra | None = None  # writes more files into the bundle before it is sealed, such as the report

    def run(self, out: Path) -> Finalized | None:
        """Return the bundle made in `out`; None where no trial is feasible.

        Raises `StorageError` where `out` holds something else than the bundle of this very finalize, `StudyError`
        where the data isn't the study's, `TrialFailed` where no network is left and none can be trained.
        """
        refuse_other_data(self.study, self.prepared)
        wanted = 1 if self.options.retrain else self.options.members
        rivals = candidates(self.study.study_name, trials_of(self.study).ours, wanted)
        if not rivals:
            return None
        name = self._id(rivals)
        if (there := _already(out, name)) is not None:
            return Finalized(bundle=there, folder=out, was_there=True)
        choice, validation = self._chosen(rivals)
        self.say(_describe_choice(choice, self.options))
        with separate.own_copies(choice, self.jobs.folder, self._compact) as apart:
            draft, models = self._draft(name, apart, validation)
            self.say(_describe_threshold(draft))
            whole = self._write(self._open_test(draft, models, out), models, out)
        separate.tidy(self.jobs.folder / "models")
        return Finalized(bundle=whole, folder=out)

    @property
    def objective(self) -> ObjectiveSpec:
        return self._stored.objective

    @property
    def ceiling(self) -> float:
        return self.objective.fnr_ceiling if self.options.ceiling is None else self.options.ceiling

    @cached_property
    def _stored(self) -> StoredStudy:
        return stored.read(self.study)

    def _id(self, rivals: Sequence[Candidate]) -> str:
        asked = codec.to_json(self.options) | {"ceiling": self.ceiling}
        return codec.digest(
            [self._stored.fingerprint, asked, [rival.spec.digest for rival in rivals], PREPROCESSING_VERSION]
        )

    def _chosen(self, rivals: Sequence[Candidate]) -> tuple[Choice, tuple[np.ndarray, np.ndarray]]:
        """Return the members, and labels and scores (n,) of images that did not teach them."""
        if self.options.retrain:
            members, y, scores = self.workshop.of_folds(rivals[0], self.options.members)
            return Choice(members=tuple(members), gain=None), (y, scores)
        found = self.workshop.of_trials(rivals)
        role = preprocess.open_role(self.prepared.arrays_for(found[0].candidate.spec.data), "validation")
        choice = choose(found, np.asarray(role.y), np.array(role.groups), self.objective)
        return choice, pooled(choice.members, np.asarray(role.y))

    def _compact(self, member: Member, into: Path) -> None:
        """Write the member's network to `into` in fewer bytes."""
        x = preprocess.open_role(self.prepared.arrays_for(member.candidate.spec.data), "validation").x
        compact.write(member.network, into, x[:: -(-len(x) // N_PROBES)])

    def _draft(
        self, name: str, choice: Choice, validation: tuple[np.ndarray, np.ndarray]
    ) -> tuple[Bundle, dict[str, Path]]:
        """Set the threshold of the chosen: all that is settled before the test role is opened."""
        several = len(choice.members) > 1
        names = [f"model-{i}.keras" if several else "model.keras" for i in range(1, len(choice.members) + 1)]
        models = dict(zip(names, (member.network for member in choice.members), strict=True))
        members = tuple(_of_bundle(file, member) for file, member in zip(names, choice.members, strict=True))
        n_uses = openings.log(self.study, self.storage, self.prepared, "calibration", bundle=name)
        settled = self._settle(members, models, validation)
        draft = Bundle(
            study=self.study.study_name,
            finalize_id=name,
            negative=self._stored.classes[0],
            positive=self._stored.classes[1],
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
            fingerprint=self._stored.fingerprint,
            environment={**choice.members[0].environment, "pneumo-search": metadata.version("pneumo-search")},
            selection=_selection(self.options, choice, settled),
            files={file: bundles.facts_of(path) for file, path in models.items()},
        )
        return draft, models

    def _settle(
        self,
        members: Sequence[bundles.Member],
        models: Mapping[str, Path],
        validation: tuple[np.ndarray, np.ndarray],
    ) -> Settled:
        calibration: RoleArrays | None = None
        calibration_scores: Mapping[str, np.ndarray] = {}
        if "calibration" in self.prepared.split.roles:
            calibration = self._role(members, "calibration")
            calibration_scores = under_shifts.of_calibration(
                calibration,
                self._scores(members, models, "calibration")[0],
                under_shifts.stated(self.objective) if self.options.under_shifts else (),
                lambda role, names, rows: self._scores(members, models, role, names, rows),
            )
        return settle(
            self.objective,
            validation,
            calibration,
            calibration_scores,
            ceiling=self.ceiling,
            confidence=self.options.confidence,
            leaks=self.prepared.split.leaks,
            patients_known=traces.patients_known(self.prepared, "calibration"),
        )

    def _role(self, members: Sequence[bundles.Member], role: Role) -> RoleArrays:
        return preprocess.open_role(self.prepared.arrays_for(members[0].data), role)

    def _scores(
        self,
        members: Sequence[bundles.Member],
        models: Mapping[str, Path],
        role: Role,
        shifts: Sequence[str] = ("",),
        rows: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Return the bundle's scores of a role, or of some `rows` of it, under each of `shifts`, (shifts, n)."""
        tasks = [
            ScoreRole(
                number=0,
                model=str(models[member.file].absolute()),
                arrays=str(self.prepared.arrays_for(member.data)),
                role=role,
                shifts=tuple(shifts),
                rows=None if rows is None else tuple(rows),
            )
            for member in members
        ]
        scores: dict[int, tuple[float, ...]] = {}
        for position, answer in self.jobs.answers(tasks):
            if isinstance(answer, Scored):
                scores[position] = answer.scores
            else:
                raise failed(answer)
        return average([scores[position] for position in range(len(tasks))]).reshape(len(shifts), -1)

    def _open_test(self, draft: Bundle, models: Mapping[str, Path], out: Path) -> Bundle:
        """Log that the test role is opened, then score it once."""
        n_openings = openings.log(
            self.study, self.storage, self.prepared, "test", bundle=draft.frozen, out=str(out.absolute())
        )
        if n_openings > 1:
            self.say(
                f"The images of the test role have been seen {n_openings} times with this one, over all studies: "
                "the more often a choice followed a look, the more the figures overstate the truth"
            )
        role = self._role(draft.members, "test")
        found = assess(
            role.y,
            self._scores(draft.members, models, "test")[0],
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
            lambda role, names, rows: self._scores(draft.members, models, role, names, rows),
        )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return replace(draft, test=codec.to_json(found), under_shifts=shifted, n_test_openings=n_openings, created=now)

    def _write(self, whole: Bundle, models: Mapping[str, Path], out: Path) -> Bundle:
        facts = card_facts.facts(self.study, self.prepared)

        def fill(folder: Path) -> None:
            for name, file in models.items():
                shutil.copyfile(file, folder / name)
            (folder / bundles.CARD).write_text(model_card.card(whole, facts), "utf-8")
            traces.leave(folder, self.prepared, lambda role: self._scores(whole.members, models, role)[0])
            if self.extra is not None:
                bundles.seal(folder, whole)  # the report has its networks show where they look
                self.extra(folder)

        return bundles.write(out, whole, fill)


def refuse_other_data(study: optuna.Study, prepared: Prepared) -> None:
    """Raise `StudyError` where `prepared` is not what the stored study was trained on."""
    known = stored.read(study).fingerprint
    given = fingerprint.of_data(prepared.manifest, prepared.split)
    if lines := fingerprint.differences({key: known.get(key, {}) for key in given}, given):
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


def _of_bundle(file: str, member: Member) -> bundles.Member:
    candidate = member.candidate
    return bundles.Member(file=file, data=candidate.spec.data, trial=candidate.trial, spec=candidate.spec)


def _selection(options: Options, choice: Choice, settled: Settled) -> dict[str, Any]:
    return {
        "options": codec.to_json(options),
        "members": [{"trial": m.candidate.trial, "value_in_search": m.candidate.value} for m in choice.members],
        "gain_of_averaging": codec.to_json(choice.gain),
        "validation": codec.to_json(settled.validation),
        "calibration_specificity": settled.calibration_specificity,
    }


def _describe_choice(choice: Choice, options: Options) -> str:
    numbers = ", ".join(str(member.candidate.trial) for member in choice.members)
    if options.retrain:
        return f"Chosen: the average of trial {choice.members[0].candidate.trial} trained on {options.members} folds"
    if len(choice.members) > 1:
        return f"Chosen: the average of trials {numbers}"
    return f"Chosen: trial {numbers} alone" + (": averaging is worse beyond noise" if choice.gain else "")


def _describe_threshold(draft: Bundle) -> str:
    certificates = map(str, draft.certificates.values())
    return "\n".join([*certificates, f"Threshold {draft.threshold:.6g}. {promise(draft).replace('*', '')}"])
