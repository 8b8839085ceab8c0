"""Contracts that every space keeps."""

from collections.abc import Callable
from typing import Any

import optuna
import pytest

from pneumo_core import codec
from pneumo_core.specs import BackboneSpec, CnnSpec, DenseSpec, TrainSpec
from spaces import Recorder, Suggest, backbone, cnn, dense, training

SPACES: dict[str, tuple[Callable[[Suggest], Any], type]] = {
    "dense": (dense, DenseSpec),
    "cnn": (cnn, CnnSpec),
    "backbone": (backbone, BackboneSpec),
    "untrained backbone": (lambda s: backbone(s, names=["VGG16"], weights="none"), BackboneSpec),
    "training": (training, TrainSpec),
}


@pytest.mark.parametrize("name", SPACES)
def test_every_draw_is_a_valid_spec_and_a_pure_function_of_what_was_suggested(name: str) -> None:
    space, cls = SPACES[name]
    for seed in range(200):
        recorder = Recorder(seed=seed)
        spec = space(recorder)
        assert isinstance(spec, cls)
        assert codec.from_json(cls, codec.to_json(spec)) == spec
        assert space(Recorder(given=recorder.values)) == spec


@pytest.mark.parametrize("name", SPACES)
def test_every_space_runs_under_optuna_with_the_same_parameters(name: str) -> None:
    space, cls = SPACES[name]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        spec = space(trial)
        assert isinstance(spec, cls)
        assert space(Recorder(given=trial.params)) == spec


def test_a_space_reaches_the_ends_of_its_ranges() -> None:
    drawn = [cnn(Recorder(seed=s), max_blocks=3) for s in range(300)]
    assert {len(spec.filters) for spec in drawn} == {1, 2, 3}
    assert {spec.residual for spec in drawn} == {False, True}
    assert {len(spec.units) for spec in drawn} == {0, 1, 2, 3, 4}
    assert any(spec.l2 == 0 for spec in drawn)
    assert any(spec.l2 > 0 for spec in drawn)


def test_a_backbone_is_frozen_or_fine_tuned_in_one_or_two_phases_to_any_depth() -> None:
    drawn = [backbone(Recorder(seed=s)) for s in range(100)]
    assert {spec.trainable_from for spec in drawn} == {None, "stage-1", "stage-2", "all"}
    assert {spec.head_epochs for spec in drawn if spec.trainable_from} == {0, 1, 2}
    assert {spec.trainable_from for spec in (backbone(Recorder(seed=s), fine_tune=False) for s in range(9))} == {None}
    chosen = [backbone(Recorder(seed=s), fine_tune=["block14"]) for s in range(9)]
    assert {spec.trainable_from for spec in chosen} == {None, "block14"}


def test_bounds_on_width_hold() -> None:
    for seed in range(100):
        spec = cnn(Recorder(seed=seed), max_first_filters=16, max_filters=32)
        assert spec.filters[0] <= 16
        assert max(spec.filters) <= 32
