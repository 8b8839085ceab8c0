"""The model of one trial without a finalize, marked as what it is: uncertified."""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import optuna

from pneumo_core import codec
from pneumo_core.bundles import bundle as bundles
from pneumo_core.bundles.bundle import Bundle, calibration_counts
from pneumo_core.bundles.bundle import Member as BundleMember
from pneumo_core.data import preprocess
from pneumo_core.progress import Progress, silent
from pneumo_core.scoring import operating
from pneumo_core.scoring.operating import Metrics
from pneumo_core.specs import ObjectiveSpec
from search import stored
from search.executors.devices import Machine
from search.finalizing import card_facts, model_card
from search.finalizing.choose import Member, candidate
from search.finalizing.finalize import refuse_other_data
from search.finalizing.make import trainers, workshop
from search.finalizing.members import Say
from search.home import Home
from search.prepared import read_source
from search.storage.database import open_storage
from search.stored_trials import trial_of
from search.study import load_study, stored_source


@dataclass(frozen=True, kw_only=True)
class OneTrial:
    """An uncertified bundle with one network, and the result of its training."""

    bundle: Bundle
    folder: Path
    metrics: Metrics  # on validation
    differs: bool  # from the result in the search: trained again by another program, machine, or over folds


def make_bundle_of_trial(
    name: str,
    number: int,
    *,
    out: Path,
    source: str | None,
    storage_url: str,
    home: Home,
    machine: Machine,
    say: Say,
    progress: Progress = silent,
) -> OneTrial:
    """Write a bundle with the network that trial `number` of the study stored under `name` left.

    Where it is not kept here, it is trained again with the spec, seed and roles of the trial. Its threshold is the one
    of validation, without a guarantee; the calibration and test roles stay closed. Raises `UserError`s for mistakes of
    the user, `TrialFailed` where the training fails.
    """
    home.check_writable()
    bundles.check_free(out)
    storage = open_storage(storage_url, create=False)
    study = load_study(name, storage)
    chosen = candidate(study.study_name, trial_of(study, number))
    objective = stored.read(study).objective
    prepared = read_source(stored_source(study, source), home, progress)
    refuse_other_data(study, prepared)
    with trainers(study, home, prepared, machine) as jobs:
        shop = workshop(study, home, jobs, prepared, say)
        [member] = shop.of_trials([chosen])
        y = preprocess.open_role(prepared.arrays_for(chosen.spec.data), "validation").y.astype(np.int64)
        metrics = operating.judge(*operating.pooled(y, member.scores, member.shifted), objective).metrics
        draft = _draft(study, objective, member, metrics)

        def fill(folder: Path) -> None:
            shutil.copyfile(member.network, folder / draft.members[0].file)
            card = model_card.card(draft, card_facts.facts(study, prepared))
            (folder / bundles.CARD).write_text(card, "utf-8")

        whole = bundles.write(out, draft, fill)
    storage.remove_session()
    found = codec.to_json(metrics)
    known = trial_of(study, number).user_attrs
    return OneTrial(bundle=whole, folder=out, metrics=metrics, differs={key: known.get(key) for key in found} != found)


def _draft(study: optuna.Study, objective: ObjectiveSpec, member: Member, metrics: Metrics) -> Bundle:
    known, chosen = stored.read(study), member.candidate
    mark = known.fingerprint
    file = "model.keras"
    return Bundle(
        study=study.study_name,
        finalize_id=codec.digest(["one trial", mark, chosen.spec.digest]),
        negative=known.classes[0],
        positive=known.classes[1],
        members=(BundleMember(file=file, data=chosen.spec.data, trial=chosen.trial, spec=chosen.spec),),
        objective=objective,
        threshold=metrics.threshold,
        guarantee="none",
        ceiling=objective.fnr_ceiling,
        confidence=0.95,
        certificates={},
        calibration=calibration_counts(np.zeros(0), np.zeros(0)),
        fingerprint=mark,
        environment={**member.environment, "pneumo-search": metadata.version("pneumo-search")},
        selection={"validation": codec.to_json(metrics)},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        files={file: bundles.facts_of(member.network)},
    )
