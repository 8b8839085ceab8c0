"""A trial on small images first: pausing, continuing with larger ones, and exact continuation through all of it."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pneumo_core.result import TrialResult
from pneumo_core.specs import CnnSpec, DenseSpec, ModelSpec, ObjectiveSpec, Stage, TrialSpec
from pneumo_core.training import checkpoint
from pneumo_core.training.task import OnEpoch
from pneumo_core.training.trial import identity, run_trial
from tests.pneumo_core.images import arrays
from tests.pneumo_core.training.test_train import AUGMENT, CNN, Killed, kill_after, trial
from tests.pneumo_core.training.test_trial import go_on, without_seconds

STAGES = (Stage(index=0, until_epoch=2), Stage(index=1, until_epoch=4), Stage(index=2))
SIDES_PX = (8, 12, 16)


def run_stage(spec: TrialSpec, index: int, path: Path, on_epoch: OnEpoch = go_on, side_px: int = 0) -> TrialResult:
    data = arrays(side_px=side_px or SIDES_PX[index])
    return run_trial(spec, ObjectiveSpec(), data, 5, on_epoch, path, STAGES[index])


def flat_cnn() -> TrialSpec:
    return trial(CnnSpec(filters=(4,), units=(6,), dropout=0.2), epochs=6, augment=AUGMENT)


@dataclass(frozen=True)
class Staged:
    """The stages of one unbroken trial: what each came to, and the checkpoint that it left in `folder`."""

    folder: Path
    results: list[TrialResult]

    def checkpoint(self, index: int, place: Path) -> Path:
        """Return a copy, in `place`, of the checkpoint after stage `index`."""
        return Path(shutil.copy(self.folder / f"{index}.npz", place / "trial.npz"))


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Staged:
    folder = tmp_path_factory.mktemp("staged")
    found = Staged(folder, [])
    for index in range(len(STAGES)):
        found.results.append(run_stage(flat_cnn(), index, folder / "trial.npz"))
        shutil.copy(folder / "trial.npz", folder / f"{index}.npz")
    return found


@pytest.mark.parametrize(
    ("network", "fields"),
    [
        (CNN, {"schedule": "cosine", "augment": AUGMENT}),
        (DenseSpec(units=(8,)), {"plateau_patience": 1, "optimizer": "sgd", "momentum": 0.9}),
    ],
    ids=["cnn", "dense"],
)
def test_pausing_changes_nothing_where_the_images_stay(
    network: ModelSpec, fields: dict[str, Any], tmp_path: Path
) -> None:
    spec = trial(network, **fields)
    unbroken = run_trial(spec, ObjectiveSpec(), arrays(), 5, go_on)

    staged = [run_stage(spec, index, tmp_path / "trial.npz", side_px=12) for index in range(3)]

    assert [(result.stopped, result.n_epochs) for result in staged] == [("paused", 2), ("paused", 4), ("completed", 5)]
    assert without_seconds(staged[-1]) == without_seconds(unbroken)


def test_a_trial_killed_in_any_stage_comes_to_the_same_result(staged: Staged, tmp_path: Path) -> None:
    spec, path, heard = flat_cnn(), staged.checkpoint(0, tmp_path), list[int]()
    killed = []
    for index, last in ((1, 3), (2, 4)):  # the last epoch of a stage, the first
        with pytest.raises(Killed):
            run_stage(spec, index, path, kill_after(last, heard))
        killed.append(run_stage(spec, index, path, kill_after(99, heard)))
        if index == 1:  # as if nobody had heard how it ended
            killed.append(run_stage(spec, index, path, kill_after(99, heard)))

    assert heard == [2, 3, 3, 4, 4, 5]
    wanted = [staged.results[index] for index in (1, 1, 2)]
    assert list(map(without_seconds, killed)) == list(map(without_seconds, wanted))


def test_larger_images_keep_the_weights_and_judge_anew(staged: Staged) -> None:
    first, result, _ = staged.results

    assert (result.n_epochs, result.stopped) == (4, "paused")
    assert result.best_epoch > 2  # epochs on small images can't be the best
    assert result.history[:2] == first.history
    assert result.seconds == pytest.approx(sum(epoch["seconds"] for epoch in result.history))
    assert result.environment["checkpoint"] == "continued after 2 epochs on other images"


def test_weights_of_the_stage_before_are_where_training_goes_on_from(tmp_path: Path) -> None:
    spec = trial(CnnSpec(filters=(4,), head="average"), epochs=6, learning_rate=1e-8)  # as good as no training
    path = tmp_path / "trial.npz"
    run_stage(spec, 0, path)
    name = identity(spec, ObjectiveSpec(), 5)
    saved = checkpoint.load(path, name)
    assert saved is not None
    marked = {key: np.full_like(a, 0.25) if key.startswith("model.") else a for key, a in saved.arrays.items()}
    checkpoint.save(path, name, checkpoint.Checkpoint(state=saved.state, arrays=marked))

    run_stage(spec, 1, path)

    again = checkpoint.load(path, name)
    assert again is not None
    for key, found in again.arrays.items():
        if key.startswith(("model.", "best.")) and found.dtype == np.float32:
            np.testing.assert_allclose(found, 0.25, atol=1e-4)


def test_a_stage_whose_checkpoint_is_gone_trains_all_its_epochs_at_its_own_size(tmp_path: Path) -> None:
    result = run_stage(flat_cnn(), 2, tmp_path / "none.npz")

    assert result.environment["checkpoint"] == "gone: this stage begins with the first epoch"
    assert (result.n_epochs, result.stopped) == (6, "completed")
    alone = run_trial(flat_cnn(), ObjectiveSpec(), arrays(side_px=16), 5, go_on)
    assert without_seconds(result) == without_seconds(alone)


def test_an_earlier_stage_never_goes_on_from_a_later_one(staged: Staged, tmp_path: Path) -> None:
    result = run_stage(flat_cnn(), 0, staged.checkpoint(1, tmp_path))

    assert result.environment["checkpoint"].startswith("started over: ")
    assert result.n_epochs == 2


def test_a_trial_that_stops_improving_on_small_images_goes_on_with_larger_ones(tmp_path: Path) -> None:
    spec, path = trial(DenseSpec(units=(4,)), epochs=6, patience=1, learning_rate=10.0, monitor="auc"), tmp_path / "t"
    stage = Stage(index=0, until_epoch=5)
    first = run_trial(spec, ObjectiveSpec(), arrays(side_px=8), 5, go_on, path, stage)
    assert first.stopped == "early"

    second = run_stage(spec, 2, path)

    assert second.n_epochs > first.n_epochs
    assert second.best_epoch > first.n_epochs


def test_a_trial_pruned_in_a_stage_is_not_paused(tmp_path: Path) -> None:
    result = run_stage(flat_cnn(), 0, tmp_path / "trial.npz", lambda epoch, metrics: epoch == 1)
    assert result.stopped == "pruned"


@pytest.mark.parametrize("network", [CnnSpec(filters=(4, 8)), DenseSpec(units=(6,))], ids=["cnn", "dense"])
def test_what_was_learnt_over_flattened_maps_is_not_lost(network: ModelSpec, tmp_path: Path) -> None:
    """Trained on, but with no rate to speak of, the next stage is as good as the one before; anew it is not."""
    data, path = {side_px: arrays(side_px=side_px) for side_px in (8, 16)}, tmp_path / "trial.npz"
    learnt = trial(network, epochs=12, learning_rate=0.01, schedule="cosine", batch_size=16)
    first = run_trial(learnt, ObjectiveSpec(), data[8], 5, go_on, path, Stage(index=0, until_epoch=11))
    second = run_trial(learnt, ObjectiveSpec(), data[16], 5, go_on, path, Stage(index=1))
    assert first.metrics.auc > 0.9
    assert second.n_epochs == 12  # one epoch more, at the end of the cosine
    assert second.metrics.auc > 0.9
