"""The published table of the original project, as points of the space."""

import pytest

from pneumo_core.specs import BackboneSpec, CnnSpec, DenseSpec, ModelSpec
from spaces import Recorder
from studies.original_models import MODELS, STUDY, space

PUBLISHED: list[tuple[ModelSpec, float, int]] = [
    (DenseSpec(units=(25, 50)), 0.001, 100),
    (CnnSpec(filters=(256,), kernel_px=3, pooling="max", head="flatten", units=(25, 50)), 0.01, 50),
    (BackboneSpec(name="VGG19", head="flatten", units=(25, 50)), 0.01, 50),
    (BackboneSpec(name="VGG19", head="flatten", filters=(256,), units=(25, 50)), 0.01, 50),
    (BackboneSpec(name="VGG19", head="flatten", filters=(128, 256), units=(25, 50, 75, 100)), 0.01, 50),
]


@pytest.mark.parametrize("number", range(5))
def test_a_published_model_is_exactly_a_point_of_the_space(number: int) -> None:
    spec = space(Recorder(given=MODELS[number]))
    model, learning_rate, batch_size = PUBLISHED[number]
    assert spec.model == model
    assert spec.data.shape == (256, 256, 3)
    train = spec.train
    assert (train.optimizer, train.learning_rate, train.batch_size) == ("sgd", learning_rate, batch_size)
    assert (train.schedule, train.plateau_patience, train.plateau_factor, train.patience) == ("plateau", 7, 0.5, 14)
    assert (train.class_weights, train.steps_per_epoch, train.monitor) == ("balanced", 100, "val_loss")
    assert (train.augment.rotation_deg, train.augment.zoom, train.augment.fixed_copies) == (40, 0.1, 1)


def test_the_study_runs_all_five_first() -> None:
    assert STUDY.enqueue == MODELS
    assert STUDY.budget.trials == 5
