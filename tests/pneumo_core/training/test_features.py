"""Frozen networks trained on kept features: the same trial as on pixels, computed once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import PIL
import pytest

from pneumo_core.data.folds import Pooled
from pneumo_core.data.preprocess import FitArrays, Origin
from pneumo_core.models import backbones, forward
from pneumo_core.specs import AugmentSpec, BackboneSpec, CnnSpec, DataSpec, ObjectiveSpec, TrainSpec, TrialSpec
from pneumo_core.training import cross_validate, features, stretching
from pneumo_core.training.cross_validate import FoldsTrial
from pneumo_core.training.feature_store import LIMIT_VARIABLE
from pneumo_core.training.task import OnEpoch
from pneumo_core.training.trial import build_and_train, run_trial
from tests.pneumo_core import tiny_lite
from tests.pneumo_core.images import arrays
from tests.pneumo_core.models.test_backbones import needs_lite
from tests.pneumo_core.training.test_train import Killed, kill_after
from tests.pneumo_core.training.test_trial import go_on, without_seconds

CHANGES = {"flip": 0.5, "contrast": 0.2}
SETTINGS: dict[str, tuple[BackboneSpec, AugmentSpec]] = {
    "pooled": (BackboneSpec(units=(4,), dropout=0.3), AugmentSpec()),
    "convolutions": (BackboneSpec(filters=(3,), head="flatten"), AugmentSpec()),
    "views": (BackboneSpec(views=2), AugmentSpec(**CHANGES)),
    "copies": (BackboneSpec(), AugmentSpec(**CHANGES, fixed_copies=1)),
    "first part": (
        BackboneSpec(trainable_from="block1", train_norms=True, views=2, units=(4,), head_epochs=1),
        AugmentSpec(**CHANGES),
    ),
}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_lite.shrink(monkeypatch)


def kept_in(cache_dir: Path) -> FitArrays:
    images = arrays(n_train=20, n_validation=10, side_px=32)
    return replace(images, origin=Origin(cache_dir=cache_dir, digest="images"))


def in_memory() -> FitArrays:
    return arrays(n_train=20, n_validation=10, side_px=32)


def trial(model: BackboneSpec | CnnSpec = SETTINGS["pooled"][0], **fields: Any) -> TrialSpec:
    return TrialSpec(
        model=model,
        data=DataSpec(image_size_px=32),
        train=TrainSpec(**{"epochs": 3, "batch_size": 8, "learning_rate": 0.02, **fields}),
    )


def ran(spec: TrialSpec, images: FitArrays, on_epoch: OnEpoch = go_on, file: Path | None = None) -> Any:
    return run_trial(spec, ObjectiveSpec(), images, 1, on_epoch, file)


def written(folder: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in folder.rglob("features.npy")}


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("setting", ["convolutions", "first part"])  # more below
def test_kept_features_give_the_trial_that_pixels_give(setting: str, tmp_path: Path) -> None:
    model, changes = SETTINGS[setting]
    compare(trial(model, augment=changes), tmp_path)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("setting", ["pooled", "views", "copies"])
def test_features_are_computed_for_the_patients_that_a_trial_sees_and_for_no_others(
    setting: str, tmp_path: Path
) -> None:
    model, changes = SETTINGS[setting]
    compare(trial(model, augment=changes, patients=0.5), tmp_path)
    assert max(len(np.load(file, mmap_mode="r")) for file in tmp_path.rglob("features.npy")) < 20


@needs_lite
@pytest.mark.slow
def test_kept_features_of_the_real_network_give_the_trial_that_pixels_give(tmp_path: Path) -> None:
    compare(trial(BackboneSpec(), epochs=2), tmp_path)


def compare(spec: TrialSpec, folder: Path) -> None:
    """Run a trial on features and on pixels, and see that nobody can tell which was which."""
    cached, uncached = ran(spec, kept_in(folder)), ran(spec, in_memory())

    assert cached.environment["features"] == "cached"
    assert uncached.environment["features"].startswith("uncached")
    np.testing.assert_allclose(cached.scores, uncached.scores, atol=1e-5)
    np.testing.assert_allclose([e["loss"] for e in cached.history], [e["loss"] for e in uncached.history], atol=1e-5)
    assert cached.n_parameters == uncached.n_parameters
    assert np.ptp(cached.scores) > 0.001  # else the tolerance says nothing


@pytest.mark.usefixtures("tiny")
def test_folds_are_trained_on_features_kept_for_all_trials(tmp_path: Path) -> None:
    """All of them, and two views beside them."""
    model, changes = SETTINGS["views"]
    images = arrays(n_train=40, n_validation=20, side_px=32)
    x, y = (images.x_train, images.x_validation), np.concatenate([images.y_train, images.y_validation])
    pooled = Pooled(x=x, y=y, groups=np.arange(len(y)).astype(str))

    def over_folds(origin: Origin | None, rate: float = 0.02) -> Any:
        task = FoldsTrial(
            spec=trial(model, augment=changes, learning_rate=rate, epochs=2),
            objective=ObjectiveSpec(),
            pooled=replace(pooled, origin=origin),
            n_folds=2,
            fold_seed=3,
            seed=1,
            on_epoch=go_on,
        )
        return cross_validate.run(task)

    cached, uncached = over_folds(Origin(cache_dir=tmp_path, digest="images")), over_folds(None)
    first = written(tmp_path)
    over_folds(Origin(cache_dir=tmp_path, digest="images"), rate=0.01)

    assert cached.environment["features"] == "cached"
    assert uncached.environment["features"].startswith("uncached")
    np.testing.assert_allclose(cached.scores, uncached.scores, atol=1e-5)
    assert np.ptp(cached.scores) > 0.001
    assert written(tmp_path) == first


@pytest.mark.usefixtures("tiny")
def test_the_model_is_the_whole_network_with_its_trained_head(tmp_path: Path) -> None:
    images = kept_in(tmp_path)

    trained = build_and_train(trial(), ObjectiveSpec(), images, 1, go_on)

    assert trained.model.input_shape == (None, 32, 32, 1)
    np.testing.assert_allclose(
        forward.of_model(trained.model).scores(images.x_validation), trained.result.scores, atol=1e-5
    )


@pytest.mark.usefixtures("tiny")
def test_a_second_trial_computes_nothing_and_damage_is_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ran(trial(), kept_in(tmp_path))
    files = written(tmp_path)
    assert len(files) == 2  # train and validation

    with monkeypatch.context() as patched:
        patched.setattr(keras.Model, "predict_on_batch", None)
        another = ran(trial(BackboneSpec(units=(5,)), learning_rate=0.01), kept_in(tmp_path))
    assert written(tmp_path) == files
    assert another.environment["features"] == "cached"

    damaged = Path(next(iter(files)))
    damaged.write_bytes(damaged.read_bytes()[:-4] + b"\xff\xff\xff\x7f")
    assert without_seconds(ran(trial(), kept_in(tmp_path))) == without_seconds(first)
    assert len({*written(tmp_path).items()} - {*files.items()}) == 1


@pytest.mark.usefixtures("tiny")
def test_a_killed_trial_continues_on_features_to_the_same_result(tmp_path: Path) -> None:
    model, changes = SETTINGS["views"]
    spec, images, heard = trial(model, augment=changes), kept_in(tmp_path), list[int]()
    unbroken = ran(spec, images)

    with pytest.raises(Killed):
        ran(spec, images, kill_after(1, heard), tmp_path / "trial.npz")
    continued = ran(spec, images, kill_after(99, heard), tmp_path / "trial.npz")

    assert heard == [0, 1, 1, 2]
    assert continued.environment["checkpoint"] == "continued after 1 epochs"
    assert without_seconds(continued) == without_seconds(unbroken)


@pytest.mark.usefixtures("tiny")
def test_without_room_the_trial_runs_on_pixels_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "1e-7")

    note = ran(trial(epochs=1), kept_in(tmp_path)).environment["features"]

    assert note.startswith("uncached: ")
    assert LIMIT_VARIABLE in note
    assert not written(tmp_path)


@pytest.mark.usefixtures("tiny")
def test_where_the_disk_fills_up_in_training_features_are_computed_for_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(epoch: int, metrics: dict[str, float]) -> bool:
        monkeypatch.setenv(LIMIT_VARIABLE, "1e-7")
        return False

    model, changes = SETTINGS["views"]
    spec = trial(model, augment=changes, batch_size=10)
    found = ran(spec, kept_in(tmp_path), fill)

    n_kept = len(written(tmp_path))
    monkeypatch.delenv(LIMIT_VARIABLE)
    assert without_seconds(found) == without_seconds(ran(spec, kept_in(tmp_path)))
    assert len(written(tmp_path)) > n_kept


@pytest.mark.usefixtures("tiny")
def test_flattening_belongs_to_what_is_trained_so_that_its_weights_can_be_stretched() -> None:
    spec = BackboneSpec(head="flatten")
    whole = backbones.build(spec, (32, 32, 1))
    rest, x = features.split(whole, spec).rest, np.zeros((1, 32, 32, 1), np.uint8)

    assert stretching.flattened_maps(rest, x) == stretching.flattened_maps(whole, x) is not None


@pytest.mark.usefixtures("tiny")
def test_another_pillow_changes_images_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, changes = SETTINGS["copies"]
    ran(trial(model, augment=changes, epochs=1), kept_in(tmp_path))
    before = written(tmp_path)
    monkeypatch.setattr(PIL, "__version__", "99")
    ran(trial(model, augment=changes, epochs=1), kept_in(tmp_path))

    assert len(written(tmp_path)) > len(before)


def test_what_has_no_frozen_backbone_keeps_no_features(tmp_path: Path) -> None:
    result = ran(trial(CnnSpec(filters=(2,)), epochs=1), kept_in(tmp_path))

    assert result.environment["features"] == "none"
    assert not written(tmp_path)


@pytest.mark.usefixtures("tiny")
def test_nothing_is_kept_where_the_device_changes_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, changes = SETTINGS["views"]
    kept = ran(trial(model, augment=changes), kept_in(tmp_path / "host"))
    monkeypatch.setattr(features, "device_changes", lambda augment, x: not augment.is_identity)
    whole = ran(trial(model, augment=changes), kept_in(tmp_path / "device"))

    assert whole.environment["features"] == "none: the device runs the whole network"
    assert not written(tmp_path / "device")
    np.testing.assert_allclose(whole.scores, kept.scores, atol=1e-5)
    assert ran(trial(model), kept_in(tmp_path / "unchanged")).environment["features"] == "cached"
