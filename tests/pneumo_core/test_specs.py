from typing import Any

import pytest

from pneumo_core.specs import (
    AugmentSpec,
    BackboneSpec,
    CnnSpec,
    DataSpec,
    DenseSpec,
    ObjectiveSpec,
    SplitSpec,
    TrainSpec,
    TrialSpec,
)


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (DataSpec, {"image_size_px": 4}),
        (DataSpec, {"image_size_px": 64.0}),
        (DataSpec, {"channels": 2}),
        (DataSpec, {"resize": "crop"}),
        (DenseSpec, {"units": ()}),
        (DenseSpec, {"units": [8]}),
        (DenseSpec, {"dropout": 1.0}),
        (DenseSpec, {"dropout": float("nan")}),
        (CnnSpec, {"filters": (8, 0)}),
        (CnnSpec, {"kernel_px": 4}),
        (CnnSpec, {"pooling": "min"}),
        (BackboneSpec, {"weights": "noisy"}),
        (BackboneSpec, {"weights": "none", "trainable_from": None}),
        (AugmentSpec, {"flip": 1.5}),
        (AugmentSpec, {"zoom": -0.1}),
        (TrainSpec, {"epochs": 0}),
        (TrainSpec, {"learning_rate": 0.0}),
        (TrainSpec, {"learning_rate": float("nan")}),
        (TrainSpec, {"optimizer": "tiger"}),
        (TrainSpec, {"batch_size": True}),
        (ObjectiveSpec, {"fnr_ceiling": 0.0}),
        (ObjectiveSpec, {"specificity_floor": 1.0}),
        (SplitSpec, {"validation": 0.0}),
        (SplitSpec, {"protocol": "lucky"}),
        (SplitSpec, {"validation": 0.5, "calibration": 0.3, "test": 0.3}),
    ],
)
def test_a_wrong_value_is_named(cls: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as caught:
        cls(**wrong)
    assert next(iter(wrong)) in str(caught.value)


def test_an_unknown_objective_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'recall'"):
        ObjectiveSpec(kind="recal")  # type: ignore[arg-type]


def test_defaults_are_valid_and_augmentation_is_off() -> None:
    assert AugmentSpec().is_identity
    assert not AugmentSpec(blur=0.005).is_identity
    assert TrainSpec().augment.is_identity


def test_an_unknown_backbone_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'EfficientNetLite0'"):
        BackboneSpec(name="EficientNetLite0")


def test_an_image_too_small_for_its_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="`image_size_px` must be at least 71 for Xception, got 64"):
        TrialSpec(model=BackboneSpec(name="Xception"), data=DataSpec(image_size_px=64))
