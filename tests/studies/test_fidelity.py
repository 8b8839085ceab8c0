"""Cheap trials first, as part of a study: what is refused, and what images each stage gets."""

from typing import Any

import pytest

from pneumo_core.errors import StudyError
from pneumo_core.specs import BackboneSpec, CnnSpec, DataSpec, DenseSpec, ObjectiveSpec, TrainSpec, TrialSpec
from search import fingerprint
from studies import load
from studies.probing import probe
from studies.spec import FidelitySpec, PrunerSpec, Rung
from tests.studies.test_spec import study

SMALL = CnnSpec(filters=(4, 8))


def trial(model: Any = SMALL, px: int = 64, epochs: int = 12) -> TrialSpec:
    return TrialSpec(model=model, data=DataSpec(image_size_px=px), train=TrainSpec(epochs=epochs))


@pytest.mark.parametrize(
    ("model", "px", "sizes_px"),
    [
        (SMALL, 64, [32, 48, 64]),
        (SMALL, 224, [112, 168, 224]),
        (SMALL, 20, [8, 16, 20]),
        (SMALL, 8, [8, 8, 8]),
        (CnnSpec(filters=(4, 4, 4, 4, 4, 4)), 64, [64, 64, 64]),  # six halvings need all of it
        (BackboneSpec(name="Xception"), 96, [71, 72, 96]),
        (BackboneSpec(filters=(8,)), 96, [64, 72, 96]),
        (DenseSpec(), 24, [16, 16, 24]),
    ],
)
def test_images_of_a_rung_are_multiples_of_8_that_the_model_can_take(model: Any, px: int, sizes_px: list[int]) -> None:
    found = [FidelitySpec().data_at(trial(model, px), stage).image_size_px for stage in range(3)]
    assert found == sizes_px
    assert FidelitySpec().data_at(trial(model, px), 2) == trial(model, px).data


def test_a_rung_of_the_whole_size_takes_the_very_images_of_the_trial() -> None:
    fidelity = FidelitySpec(rungs=(Rung(scale=1.0, epochs=2),))
    assert fidelity.data_at(trial(px=61), 0) == trial(px=61).data


@pytest.mark.parametrize(
    ("rungs", "said"),
    [
        ((), "at least one Rung"),
        ([Rung(scale=0.5, epochs=3)], "must be a tuple"),
        ((Rung(scale=0.5, epochs=3), Rung(scale=0.75, epochs=3)), "rising `epochs`"),
        ((Rung(scale=0.5, epochs=3), Rung(scale=0.25, epochs=6)), "no smaller `scale`"),
    ],
)
def test_rungs_must_rise(rungs: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FidelitySpec(rungs=rungs)


@pytest.mark.parametrize("fields", [{"scale": 0.0}, {"scale": 1.5}, {"epochs": 0}, {"epochs": 2.5}])
def test_a_rung_out_of_range_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        Rung(**{"scale": 0.5, "epochs": 3, **fields})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"folds": 5}, r"`folds` must be None with it, got 5"),
        ({"objective": ObjectiveSpec(kind="recall_and_specificity")}, "one metric"),
        ({"pruner": PrunerSpec(kind="hyperband")}, "pruner 'hyperband' can't be used with `fidelity`"),
        ({"pruner": PrunerSpec(kind="successive_halving")}, "use 'none' or 'median'"),
        ({"fidelity": 0.5}, "`fidelity` must be a FidelitySpec or None, got 0.5"),
    ],
)
def test_what_does_not_go_with_cheap_trials_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        study(**{"fidelity": FidelitySpec(), **fields})


def test_trials_that_end_before_the_last_rung_are_refused_before_anything_is_trained() -> None:
    spec = study(fidelity=FidelitySpec(rungs=(Rung(scale=0.5, epochs=20),)))
    with pytest.raises(StudyError, match=r"above the 20 of the last of `fidelity.rungs`, got 20"):
        load.check(spec)


def test_another_fidelity_is_another_study() -> None:
    plain, two, four = (
        fingerprint.of_study(study(fidelity=fidelity), probe(study(fidelity=fidelity)))
        for fidelity in (None, FidelitySpec(reduction_factor=2), FidelitySpec(reduction_factor=4))
    )
    assert plain["study"] == {"seed": 0}
    [line] = fingerprint.differences(two, four)
    assert line.startswith("study: fidelity: stored ")
    assert fingerprint.differences(plain, two)
