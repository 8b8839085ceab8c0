"""Finalize: what is chosen, averaged, certified, opened and kept, on made-up networks."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pneumo_core import shifts
from pneumo_core.bundles import bundle, trace
from pneumo_core.bundles.promise import promise
from pneumo_core.errors import BundleError, StorageError, StudyError, TrialFailed
from pneumo_core.scoring.assess import assess
from pneumo_core.specs import SplitSpec
from pneumo_core.wire import RunTrial, Task, TrialError
from search import openings
from search.executors.protocol import Event
from search.finalizing import choose, finalize
from search.finalizing.finalize import Finalized, Finalizer
from tests.search import once
from tests.search.finalizing.made import FakeExecutor, finalizer, spec_of, stored

Make = Callable[..., tuple[Finalizer, FakeExecutor, list[str]]]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "N_RESAMPLES", 200)
    monkeypatch.setattr(finalize, "assess", partial(assess, n_resamples=50))


@pytest.fixture(autouse=True)
def images_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "of_records", once.traces)


@pytest.fixture
def make(tmp_path: Path, phantoms: Path) -> Make:
    """Return a function that makes finalizers of one stored study; the study's options count in the first call."""
    studies = {}

    def build(
        noises: tuple[float, ...] = (0.2, 0.3, 0.9),
        executor: FakeExecutor | None = None,
        constraint: float = -0.03,
        split: SplitSpec | None = None,
        keep: bool = True,
        **options: object,
    ) -> tuple[Finalizer, FakeExecutor, list[str]]:
        if not studies:
            studies["it"] = stored(tmp_path, phantoms, noises, constraint=constraint, split=split, keep=keep)
        said: list[str] = []
        executor = executor or FakeExecutor()
        return finalizer(*studies["it"], executor, said, **options), executor, said

    return build


class Starved(FakeExecutor):
    """Never has memory for the first noise level."""

    def _answer(self, task: Task) -> Event:
        if isinstance(task, RunTrial) and task.spec.train.learning_rate == 0.2:
            return TrialError(number=task.number, reason="out_of_memory", message="no memory for this trial")
        return super()._answer(task)


def run(made: Finalizer, out: Path) -> Finalized:
    found = made.run(out)
    assert found is not None
    return found


def test_a_bundle_has_all_that_the_contract_names(make: Make, tmp_path: Path) -> None:
    made, executor, said = make()
    found = run(made, tmp_path / "b")
    about = bundle.read(tmp_path / "b")
    assert about == found.bundle
    assert {"model.keras", "MODEL_CARD.md"} <= set(about.files) | {"model.keras"}
    assert set(about.certificates) == {"image", "patient"}
    assert about.calibration.n_positive_images > about.calibration.n_positive_patients > 0
    assert about.fingerprint["data"]["digest"] == made.prepared.manifest.digest
    assert about.test["n"] == len(made.prepared.split.indices("test"))
    assert about.n_test_openings == 1
    assert set(executor.served) == {"score"}  # nothing is trained
    assert any("average of trials 0, 1, 2" in line for line in said)


def test_the_best_trials_are_averaged_in_the_order_of_the_search(make: Make, tmp_path: Path) -> None:
    found = run(make((0.5, 0.51, 0.52, 0.53), members=3)[0], tmp_path / "b").bundle
    assert [member.trial for member in found.members] == [0, 1, 2]
    assert [member.file for member in found.members] == [f"model-{i}.keras" for i in range(1, 4)]
    assert found.selection["gain_of_averaging"]["mean"] > 0  # networks that err on different images


def test_an_average_that_is_worse_beyond_noise_is_not_taken(make: Make, tmp_path: Path) -> None:
    made, _, said = make((0.01, 3.0, 3.1))
    assert [member.trial for member in run(made, tmp_path / "b").bundle.members] == [0]
    assert any("worse beyond noise" in line for line in said)


def test_one_member_is_a_single_network(make: Make, tmp_path: Path) -> None:
    made, *_ = make(members=1)
    found = run(made, tmp_path / "b").bundle
    assert [member.file for member in found.members] == ["model.keras"]
    assert found.selection["gain_of_averaging"] is None


def test_the_winner_s_fold_networks_are_members_on_request(make: Make, tmp_path: Path) -> None:
    made, executor, _ = make((0.2, 0.3), retrain=True, members=4)
    found = run(made, tmp_path / "b").bundle
    assert executor.served["run_fold"] == 4
    assert [member.trial for member in found.members] == [0] * 4
    assert "4 patient-grouped folds" in (tmp_path / "b" / "MODEL_CARD.md").read_text()


def test_networks_that_are_not_kept_are_trained_again(make: Make, tmp_path: Path) -> None:
    made, executor, said = make((0.2, 0.3), keep=False)
    assert len(run(made, tmp_path / "b").bundle.members) == 2
    assert executor.served["run"] == 2
    assert any("not kept here" in line for line in said)


def test_a_trial_that_cannot_be_trained_again_is_left_out(make: Make, tmp_path: Path) -> None:
    made, _, said = make((0.2, 0.3), executor=FakeExecutor(fails=(0.2,)), keep=False)
    assert [member.trial for member in run(made, tmp_path / "b").bundle.members] == [1]
    assert any("left out: nan_loss" in line for line in said)


def test_no_candidate_left_is_a_failure_that_names_the_reason(make: Make, tmp_path: Path) -> None:
    made, *_ = make((0.2,), executor=FakeExecutor(fails=(0.2,)), keep=False)
    with pytest.raises(TrialFailed, match="nan_loss"):
        made.run(tmp_path / "b")


def test_a_trainer_that_died_gets_another_chance(make: Make, tmp_path: Path) -> None:
    made, executor, _ = make((0.2,), executor=FakeExecutor(deaths=2), keep=False)
    run(made, tmp_path / "b")
    assert executor.deaths == 0


def test_arrays_that_were_damaged_are_made_anew(make: Make, tmp_path: Path) -> None:
    made, executor, _ = make((0.2,), executor=FakeExecutor(damages=2), keep=False)
    arrays = made.prepared.arrays_for(spec_of(0.2).data)
    before = {file.name for file in arrays.iterdir()}
    run(made, tmp_path / "b")
    assert executor.damages == 0
    assert {file.name for file in arrays.iterdir()} == before


@pytest.mark.parametrize("n_slots", [1, 2])
def test_a_training_that_needs_its_device_alone_gets_it(make: Make, tmp_path: Path, n_slots: int) -> None:
    made, executor, said = make((0.2, 0.21), executor=FakeExecutor(n_slots=n_slots, hungry=(0.2,)), keep=False)
    assert [member.trial for member in run(made, tmp_path / "b").bundle.members] == [0, 1]
    assert executor.served_alone == 1
    assert not any("left out" in line for line in said)


def test_memory_that_runs_out_alone_as_well_is_a_failure(make: Make, tmp_path: Path) -> None:
    made, executor, said = make((0.2, 0.3), executor=Starved(), keep=False)
    assert [member.trial for member in run(made, tmp_path / "b").bundle.members] == [1]
    assert any("left out: out_of_memory" in line for line in said)
    assert executor.served_alone == 1


@pytest.mark.parametrize("full_after", [0, 2, 5, 9])
def test_a_full_disk_stops_finalize_which_goes_on_once_there_is_room(
    make: Make, tmp_path: Path, full_after: int
) -> None:
    noises = (0.01, 0.0101, 0.0102)
    made, *_ = make(noises, executor=FakeExecutor(n_slots=2, full_after=full_after), keep=False)
    with pytest.raises(StorageError, match=r"No space left.* the same command continues once there is room"):
        made.run(tmp_path / "b")
    assert not (tmp_path / "b").exists()
    made, executor, _ = make()
    found = run(made, tmp_path / "b").bundle
    assert executor.served.total() <= 13 - full_after  # 3 trainings and 9 scorings; one beside it may be run again
    assert found.n_test_openings == 1
    assert len(found.members) == 3


def test_scores_of_other_weights_never_certify_a_model(make: Make, tmp_path: Path) -> None:
    first = run(make((0.2,), ceiling=0.4, keep=False)[0], tmp_path / "first").bundle
    made, executor, _ = make(ceiling=0.4, executor=FakeExecutor(flaw=0.7))
    for file in made.jobs.folder.glob("models/*"):
        file.unlink()
    second = run(made, tmp_path / "second").bundle
    assert executor.served == {"run": 1, "score": 3}
    assert second.threshold != first.threshold
    assert second.test != first.test


def test_an_answer_to_a_model_that_went_missing_never_meets_the_next_one(make: Make, tmp_path: Path) -> None:
    run(make((0.2,), keep=False)[0], tmp_path / "first")
    made, *_ = make(executor=FakeExecutor(flaw=0.7, stop_after=0))
    [model] = made.jobs.folder.glob("models/*")
    model.unlink()
    with pytest.raises(KeyboardInterrupt):
        made.run(tmp_path / "second")
    model.write_text("a model of noise 0.9")  # saved, and the finalize killed before it heard of it
    made, executor, _ = make()
    run(made, tmp_path / "second")
    assert executor.served["run"] == 1


def test_answers_of_another_program_are_none_and_those_of_this_one_stay(make: Make, tmp_path: Path) -> None:
    for name, program, n_trained in (("a", "1.0", 1), ("b", "1.1", 1), ("c", "1.1", 0), ("d", "1.0", 0)):
        made, executor, _ = make((0.2,), keep=False)
        made.jobs.program = {"backend": "none", "pneumo-search": program}
        run(made, tmp_path / name)
        assert executor.served["run"] == n_trained


def test_a_study_without_a_feasible_trial_gives_none_and_opens_nothing(make: Make, tmp_path: Path) -> None:
    made, executor, _ = make(constraint=0.01)
    assert made.run(tmp_path / "b") is None
    assert not executor.served
    assert openings.logged(made.study) == []


@pytest.mark.parametrize("stop_after", [0, 2, 4, 11])
def test_after_a_kill_only_the_rest_is_done_and_the_test_is_opened_once(
    make: Make, tmp_path: Path, stop_after: int
) -> None:
    noises = (0.01, 0.0101, 0.0102)
    whole = FakeExecutor()
    reference = run(make(noises, executor=whole, keep=False)[0], tmp_path / "reference").bundle
    made, *_ = make()
    kept = made.jobs.folder
    for file in (*kept.glob("*.json"), *kept.glob("models/*")):
        file.unlink()
    with pytest.raises(KeyboardInterrupt):
        make(executor=FakeExecutor(stop_after=min(stop_after, whole.served.total() - 1)))[0].run(tmp_path / "b")
    assert not (tmp_path / "b").exists()
    rest = FakeExecutor()
    found = run(make(executor=rest)[0], tmp_path / "b").bundle
    assert rest.served.total() == whole.served.total() - min(stop_after, whole.served.total() - 1)
    assert found.n_test_openings == 2  # the reference's and this one's
    assert (found.threshold, found.members, found.test) == (reference.threshold, reference.members, reference.test)


def test_a_second_finalize_says_how_often_the_test_was_seen(make: Make, tmp_path: Path) -> None:
    run(make()[0], tmp_path / "first")
    made, executor, said = make()
    found = run(made, tmp_path / "second").bundle
    assert found.n_test_openings == 2
    assert any("seen 2 times" in line for line in said)
    assert "opened **2** time(s)" in (tmp_path / "second" / "MODEL_CARD.md").read_text()
    assert not executor.served  # nothing is trained or scored anew
    log = openings.logged(made.study)
    assert [entry.out for entry in log] == [str(tmp_path / "first"), str(tmp_path / "second")]
    assert {entry.bundle for entry in log} == {found.frozen}
    assert found.n_calibration_uses == 1  # the same finalize
    other = run(make(ceiling=0.05)[0], tmp_path / "third").bundle
    assert (other.n_test_openings, other.n_calibration_uses) == (3, 2)


def test_the_same_command_again_finds_its_bundle_and_opens_nothing(make: Make, tmp_path: Path) -> None:
    first = run(make()[0], tmp_path / "b")
    again = run(make()[0], tmp_path / "b")
    assert again.was_there
    assert again.bundle == first.bundle
    assert len(openings.logged(make()[0].study)) == 1


def test_another_finalize_never_overwrites(make: Make, tmp_path: Path) -> None:
    first = run(make()[0], tmp_path / "b").bundle
    with pytest.raises(StorageError, match="never overwritten"):
        make(members=1)[0].run(tmp_path / "b")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(StorageError, match="there already"):
        make()[0].run(tmp_path / "notes")
    assert bundle.read(tmp_path / "b") == first


def test_a_damaged_bundle_in_the_way_is_named_not_replaced(make: Make, tmp_path: Path) -> None:
    run(make()[0], tmp_path / "b")
    (tmp_path / "b" / "MODEL_CARD.md").write_text("")
    with pytest.raises(BundleError, match="altered or cut short"):
        make()[0].run(tmp_path / "b")


def test_too_few_positives_are_said_and_the_threshold_is_called_uncertified(make: Make, tmp_path: Path) -> None:
    made, _, said = make((0.2,))
    about = run(made, tmp_path / "b").bundle
    assert about.guarantee == "none"  # 240 phantoms have about 22 positives in calibration; 99 are needed
    assert about.threshold == about.selection["validation"]["threshold"]
    card = (tmp_path / "b" / "MODEL_CARD.md").read_text()
    for text in ("\n".join(said), card):
        assert "at least 99 are needed" in text
        assert "Not certified" in text
        assert "can certify 0." in text
    assert all(certificate.threshold is None for certificate in about.certificates.values())


def test_a_ceiling_that_suffices_is_certified_by_patient(make: Make, tmp_path: Path) -> None:
    made, *_ = make((0.2,), ceiling=0.4)
    about = run(made, tmp_path / "b").bundle
    assert about.guarantee == "patient"
    assert about.threshold == min(c.threshold for c in about.certificates.values() if c.threshold is not None)
    assert "**Certified** by image and by patient" in (tmp_path / "b" / "MODEL_CARD.md").read_text()


def test_a_leaking_split_is_never_certified(make: Make, tmp_path: Path) -> None:
    made, _, said = make((0.2,), split=SplitSpec(protocol="per_image_random"), ceiling=0.4)
    about = run(made, tmp_path / "b").bundle
    assert about.guarantee == "none"
    assert any("the split leaks patients" in line for line in said)
    assert "LEAKS" in (tmp_path / "b" / "MODEL_CARD.md").read_text()


def test_without_a_calibration_role_nothing_is_promised(make: Make, tmp_path: Path) -> None:
    made, *_ = make((0.2,), split=SplitSpec(calibration=0.0), ceiling=0.4)
    about = run(made, tmp_path / "b").bundle
    assert about.guarantee == "none"
    assert about.calibration.n_images == 0


def test_other_images_than_the_study_s_are_refused(make: Make, tmp_path: Path, phantoms: Path) -> None:
    made, *_ = make()
    records = made.prepared.manifest.records[1:]
    other = replace(made.prepared, manifest=replace(made.prepared.manifest, records=records))
    with pytest.raises(StudyError, match="not the images of study"):
        replace(made, prepared=other).run(tmp_path / "b")


def test_the_card_answers_what_it_must_and_claims_no_population_it_does_not_know(make: Make, tmp_path: Path) -> None:
    made, *_ = make((0.2, 0.3))
    run(made, tmp_path / "b")
    card = (tmp_path / "b" / "MODEL_CARD.md").read_text()
    for wanted in (
        "Not a medical device",
        "Population: unknown",
        "learning_rate",
        "Members: the networks",
        "opened **1** time(s)",
        "Assumptions",
        "TRIPOD+AI",
        "CLAIM",
        "Recall by kind",
        "bacteria",
    ):
        assert wanted in card
    assert "children" not in card


def test_test_figures_are_those_of_the_scores(make: Make, tmp_path: Path) -> None:
    made, *_ = make((0.2,))
    about = run(made, tmp_path / "b").bundle
    kept = [json.loads(file.read_text())["scores"] for file in made.jobs.folder.glob("scores-test-*.json")]
    scores = np.array(min(kept, key=len))  # not those under shifts
    records = made.prepared.manifest.records
    rows = sorted(made.prepared.split.indices("test"), key=lambda row: records[row].path)
    y = np.array([records[row].label for row in rows])
    assert about.test["recall"] == np.mean(scores[y == 1] >= about.threshold)
    assert about.test["specificity"] == np.mean(scores[y == 0] < about.threshold)
    kinds = about.test["recall_by_kind"]
    assert sum(kind["n"] for kind in kinds.values()) == y.sum()


def test_card_and_bundle_say_what_the_threshold_is_worth_under_each_shift(make: Make, tmp_path: Path) -> None:
    found = run(make()[0], tmp_path / "b").bundle
    assert [row.shift for row in found.under_shifts] == ["", *shifts.ALL]
    card = (tmp_path / "b" / "MODEL_CARD.md").read_text()
    [dark] = [line for line in card.splitlines() if line.startswith("| dark |")]  # the made-up models are worse there
    assert dark.count("**") == 4
    assert "The certificate covers none of these changes" in card


def test_a_threshold_is_certified_for_the_worst_shift_and_says_so(make: Make, tmp_path: Path) -> None:
    plain = run(make((0.2,), ceiling=0.4)[0], tmp_path / "plain").bundle
    found = run(make((0.2,), ceiling=0.4, under_shifts=True)[0], tmp_path / "b").bundle
    assert found.threshold < plain.threshold
    assert found.shifts == shifts.ALL
    assert f"under each of {len(shifts.ALL)} changes alone" in promise(found)
    assert "nothing is promised of other changes" in promise(found)
    assert promise(plain) == promise(replace(found, shifts=()))


def test_nothing_is_promised_by_patient_where_patients_are_unknown(tmp_path: Path, phantoms: Path) -> None:
    for i, file in enumerate(sorted(phantoms.rglob("*.png"))):
        (tmp_path / "images" / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, tmp_path / "images" / file.parent.name / f"{i}.png")
    made = finalizer(*stored(tmp_path, tmp_path / "images", (0.1,)), FakeExecutor(), [], ceiling=0.2)
    found = run(made, tmp_path / "b").bundle
    assert found.certificates["patient"].certified
    assert found.guarantee == "image"
    assert "which images are of one patient is not known" in promise(found)
