"""What a `StudySpec` refuses."""

from typing import Any

import pytest

from pneumo_core.specs import DenseSpec, KerasTunerSpec, TrialSpec
from studies.spec import FidelitySpec, PrunerSpec, Rung, StudySpec


def study(**more: Any) -> StudySpec:
    return StudySpec(name="any", space=lambda suggest: TrialSpec(model=DenseSpec()), **more)


@pytest.mark.parametrize("n_folds", [1, 21, 2.0, True, "5"])
def test_folds_are_a_whole_number_from_2_to_20(n_folds: object) -> None:
    with pytest.raises(ValueError, match=r"`folds` must be a whole number in \[2, 20\], got"):
        study(folds=n_folds)


def test_a_study_over_folds_is_pruned_fold_by_fold() -> None:
    assert PrunerSpec().kind_for(None) == "median"
    assert PrunerSpec().kind_for(5) == "wilcoxon"
    assert study(folds=5, pruner=PrunerSpec(kind="none")).pruner.kind_for(5) == "none"


def test_a_pruner_that_does_not_suit_the_folds_is_refused_naming_both() -> None:
    with pytest.raises(ValueError, match=r"pruner 'wilcoxon' .* `folds` must be a number, got None"):
        study(pruner=PrunerSpec(kind="wilcoxon"))
    with pytest.raises(ValueError, match=r"pruner 'median' .* `folds` \(got 5\) .* use 'wilcoxon' or 'none'"):
        study(folds=5, pruner=PrunerSpec(kind="median"))


def test_a_kerastuner_network_can_t_be_tried_on_smaller_images() -> None:
    trial = TrialSpec(model=KerasTunerSpec(name="Net", values={}, network="packed"))
    with pytest.raises(ValueError, match=r"`scale` of every rung must be 1 with Net, got 0\.5"):
        FidelitySpec().check(trial)
    FidelitySpec(rungs=(Rung(scale=1.0, epochs=3),)).check(trial)
