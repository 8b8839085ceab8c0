"""Statistics of batch normalisation belong to the weights that are judged, however short the training."""

from typing import Any

import keras
import numpy as np
import pytest

from pneumo_core.models import model, stored
from pneumo_core.scoring import metrics
from pneumo_core.seeds import seed_everything
from pneumo_core.specs import CnnSpec, DenseSpec, KerasTunerSpec, ModelSpec, ObjectiveSpec, TrainSpec
from pneumo_core.training import norms, train
from pneumo_core.training.task import Task
from tests.pneumo_core.images import arrays
from tests.pneumo_core.training.test_trial import go_on

SPECS: dict[str, ModelSpec] = {
    "cnn": CnnSpec(filters=(8, 16), normalization="batch"),
    "dense": DenseSpec(units=(32,), normalization="batch"),
}


def fitted(network: keras.Model, data: Any, **settings: Any) -> np.ndarray:
    spec = TrainSpec(**{"epochs": 2, "learning_rate": 0.01, "optimizer": "adam", **settings})
    task = Task(spec=spec, objective=ObjectiveSpec(), arrays=data, seed=3, identity="x", on_epoch=go_on)
    return train.fit(network, task).scores


def exact(network: keras.Model, data: Any) -> np.ndarray:
    """Return scores under the statistics of all training images, computed layer by layer in one batch."""
    x = data.x_train.reshape(len(data.x_train), -1) if len(network.input_shape) == 2 else data.x_train
    for norm in norms.trained(network):
        norm.momentum = 0.0
    network(x, training=True)
    held = data.x_validation.reshape(len(data.x_validation), -1) if len(network.input_shape) == 2 else data.x_validation
    return np.asarray(network(held, training=False))[:, 0]


@pytest.mark.parametrize("batch_size", [8, 128])
@pytest.mark.parametrize("name", SPECS)
def test_short_trainings_are_judged_as_with_exact_statistics(name: str, batch_size: int) -> None:
    data = arrays(n_train=200, n_validation=150, side_px=12)
    seed_everything(1)
    network = model.build(SPECS[name], (12, 12, 1))

    scores = fitted(network, data, batch_size=batch_size)

    judged, true = (metrics.auc(data.y_validation, s) for s in (scores, exact(network, data)))
    assert judged == pytest.approx(true, abs=0.01)


def test_a_network_of_others_gets_its_statistics_too() -> None:
    """Of a KerasTuner model: a nested one with Keras' own momentum, which a training this short never catches up."""
    inputs = keras.Input((12, 12, 1))
    inner = keras.Sequential([keras.Input((12, 12, 1)), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()])
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(inner(keras.layers.Rescaling(1 / 255)(inputs))))
    outputs = keras.layers.Activation("sigmoid", name="score")(keras.layers.Dense(1, name="logit")(x))
    text = stored.pack(keras.Model(inputs, outputs))
    network = model.build(KerasTunerSpec(name="nested", values={}, network=text), (12, 12, 1))
    data = arrays(n_train=100, n_validation=60)

    scores = fitted(network, data, epochs=1, batch_size=50)

    np.testing.assert_allclose(scores, exact(network, data), atol=0.02)


def test_frozen_statistics_stay() -> None:
    network = model.build(SPECS["cnn"], (12, 12, 1))
    layer = network.get_layer("block1_conv1_norm")
    layer.trainable = False

    fitted(network, arrays(), epochs=1, batch_size=32)

    assert not np.asarray(layer.moving_mean).any()


def test_the_average_of_weights_is_judged_and_kept_and_training_resumes_from_the_weights() -> None:
    data = arrays(n_train=100, n_validation=60)
    seed_everything(1)
    plain = model.build(SPECS["cnn"], (12, 12, 1))
    seed_everything(1)
    averaged = model.build(SPECS["cnn"], (12, 12, 1))

    assert not np.allclose(
        fitted(plain, data, epochs=3, batch_size=16), fitted(averaged, data, epochs=3, batch_size=16, average=0.9)
    )
