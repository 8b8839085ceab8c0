"""The training step of the running backend, against NumPy and Keras's own."""

from typing import Any

import keras
import numpy as np
import pytest

from pneumo_core.models import model
from pneumo_core.specs import CnnSpec, DenseSpec, ModelSpec, TrainSpec
from pneumo_core.training import batches
from pneumo_core.training.batches import Chunk
from pneumo_core.training.steps import Steps, make_optimizer, make_steps
from tests.pneumo_core.images import arrays

MODELS: dict[str, ModelSpec] = {
    "dense": DenseSpec(units=(6,), l2=0.01, normalization="batch"),
    "cnn": CnnSpec(filters=(3, 4), l2=0.01),
    "gelu": CnnSpec(filters=(3, 4), activation="gelu", units=(5,)),
}
SHAPE = (12, 12, 1)
each_model = pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS)
each_shape = pytest.mark.parametrize("spec", [MODELS["dense"], MODELS["cnn"]], ids=["dense", "cnn"])


def chunk(spec: ModelSpec, n_steps: int, room: int, seed: int = 0) -> Chunk:
    data = arrays(n_train=room * 8, seed=seed)
    shape = (room, 8, 144) if isinstance(spec, DenseSpec) else (room, 8, *SHAPE)
    y = data.y_train.reshape(room, 8).astype(np.float32)
    return Chunk(x=data.x_train.reshape(shape), y=y, sample_weight=1 + y, first_step=0, n_steps=n_steps)


def prepared(spec: ModelSpec, **train: Any) -> tuple[keras.Model, Steps]:
    keras.utils.set_random_seed(3)
    network, settings = model.build(spec, SHAPE), TrainSpec(**train)
    return network, make_steps(network, make_optimizer(settings), settings)


def weights(network: keras.Model, steps: Steps) -> list[np.ndarray]:
    steps.synchronize()
    return [np.asarray(keras.ops.convert_to_tensor(variable)).copy() for variable in network.weights]


def rates(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@each_model
def test_a_step_is_the_one_that_keras_takes(spec: ModelSpec) -> None:
    network, steps = prepared(spec, optimizer="sgd", momentum=0.9)
    data = chunk(spec, 1, 1)
    steps.train(data, rates(0.05))
    ours, loss = weights(network, steps), steps.take_loss()

    reference, _ = prepared(spec)
    reference.compile(keras.optimizers.SGD(0.05, momentum=0.9), keras.losses.BinaryCrossentropy())
    expected = reference.train_on_batch(data.x[0], data.y[0][:, None], sample_weight=data.sample_weight[0])

    assert loss == pytest.approx(float(expected), rel=1e-5)
    for mine, theirs in zip(ours, reference.weights, strict=True):
        np.testing.assert_allclose(mine, np.asarray(keras.ops.convert_to_tensor(theirs)), rtol=1e-4, atol=1e-6)


@each_shape
def test_empty_room_in_a_chunk_is_not_trained_on(spec: ModelSpec) -> None:
    whole, roomy = chunk(spec, 2, 2), chunk(spec, 2, 3)
    results = []
    for data in (
        whole,
        Chunk(
            **{
                **vars(roomy),
                "x": np.concatenate([whole.x, roomy.x[:1]]),
                "y": np.concatenate([whole.y, roomy.y[:1]]),
                "sample_weight": np.concatenate([whole.sample_weight, roomy.y[:1]]),
            }
        ),
    ):
        network, steps = prepared(spec)
        steps.train(data, rates(0.01, 0.01))
        results.append((weights(network, steps), steps.take_loss()))

    assert results[0][1] == results[1][1]
    for one, other in zip(results[0][0], results[1][0], strict=True):
        np.testing.assert_array_equal(one, other)


@each_shape
def test_a_rate_of_nothing_changes_nothing_and_rates_count_step_by_step(spec: ModelSpec) -> None:
    network, steps = prepared(spec, optimizer="sgd")
    before = weights(network, steps)[0]
    steps.train(chunk(spec, 2, 2), rates(0.0, 0.0))
    np.testing.assert_array_equal(weights(network, steps)[0], before)

    steps.train(chunk(spec, 2, 2), rates(0.0, 0.5))
    steps.train(chunk(spec, 2, 2), rates(0.5, 0.0))
    assert (weights(network, steps)[0] != before).any()


@each_shape
def test_the_loss_is_the_mean_of_the_steps_since_it_was_last_taken(spec: ModelSpec) -> None:
    _, steps = prepared(spec)
    assert np.isnan(steps.take_loss())
    steps.train(chunk(spec, 1, 1), rates(0.0))
    first = steps.take_loss()
    steps.train(chunk(spec, 1, 1), rates(0.0))
    steps.train(chunk(spec, 1, 1), rates(0.0))

    assert steps.take_loss() == pytest.approx(first, rel=1e-6)


def test_label_smoothing_and_weights_enter_the_loss() -> None:
    _, steps = prepared(DenseSpec(units=(4,)), label_smoothing=0.2)
    data = chunk(DenseSpec(), 1, 1)
    steps.train(data, rates(0.0))

    assert steps.take_loss() == pytest.approx(np.log(2) * data.sample_weight.mean(), rel=1e-5)  # scores are all 0.5


@each_model
def test_scores_do_not_depend_on_how_they_are_batched(spec: ModelSpec) -> None:
    network, steps = prepared(spec)
    steps.train(chunk(spec, 1, 1), rates(0.1))
    x = chunk(spec, 1, 3).x
    x = x.reshape(-1, *x.shape[2:])[:20]
    expected = steps.predict(x, 20)
    steps.synchronize()

    np.testing.assert_allclose(network(x)[:, 0], expected, rtol=1e-5)
    assert expected.shape == (20,)
    for batch_size in (1, 7, 20, 64):
        fresh = make_steps(network, make_optimizer(TrainSpec()), TrainSpec())
        np.testing.assert_allclose(fresh.predict(x, batch_size), expected, rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weight_decay_shrinks_kernels_and_spares_biases(optimizer: Any) -> None:
    kept, shrunk = (_one_step(TrainSpec(optimizer=optimizer, weight_decay=decay)) for decay in (0.0, 0.5))

    assert np.abs(shrunk[0]).sum() < np.abs(kept[0]).sum()
    np.testing.assert_allclose(shrunk[1], kept[1], atol=1e-6)


def _one_step(train: TrainSpec) -> list[np.ndarray]:
    keras.utils.set_random_seed(3)
    network = model.build(DenseSpec(units=(6,)), SHAPE)
    network.get_layer("dense1").bias.assign(np.ones(6))
    steps = make_steps(network, make_optimizer(train), train)
    steps.train(chunk(DenseSpec(), 1, 1), rates(0.01))
    return weights(network, steps)


def test_the_room_of_a_chunk_is_bounded() -> None:
    assert batches.steps_per_chunk(2**30, 100) == 1
    assert batches.steps_per_chunk(1, 100) == batches.MAX_STEPS_PER_CHUNK
    assert batches.steps_per_chunk(1, 3) == 3
