"""Models from specs."""

from pathlib import Path

import keras
import numpy as np
import pytest

from pneumo_core.models import model
from pneumo_core.specs import CnnSpec, DataSpec, DenseSpec, ModelSpec
from tests.pneumo_core.eager import outputs

SHAPE = (16, 16, 1)
MODELS: dict[str, ModelSpec] = {
    "dense": DenseSpec(units=(8, 4)),
    "dense_full": DenseSpec(units=(8,), normalization="layer", dropout=0.5, l2=0.01, activation="gelu"),
    "cnn": CnnSpec(filters=(4, 8)),
    "cnn_units": CnnSpec(filters=(4,), units=(8, 4), dropout=0.5, l2=0.01, activation="silu"),
    "cnn_average": CnnSpec(filters=(4, 4), pooling="average", head="average", normalization="layer"),
    "cnn_stride": CnnSpec(filters=(4, 8), pooling="stride", residual=True, normalization="batch"),
    "cnn_residual": CnnSpec(filters=(4, 4, 8), residual=True, convolutions_per_block=2, activation="tanh"),
}
each_model = pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS)


def pixels(spec: ModelSpec, n: int = 3) -> np.ndarray:
    x = np.random.default_rng(0).integers(0, 256, (n, *SHAPE), dtype=np.uint8)
    return x.reshape(n, *model.input_shape(spec, DataSpec(image_size_px=16)))


def wake(network: keras.Model) -> None:
    """Give the last layer, which starts at zero, weights that let the images show in the score."""
    logit = network.get_layer("logit")
    logit.kernel.assign(np.random.default_rng(1).normal(0, 0.1, logit.kernel.shape))


@each_model
def test_a_model_ends_in_one_float32_score_between_0_and_1(spec: ModelSpec) -> None:
    network = model.build(spec, SHAPE)
    wake(network)

    scores = outputs(network, pixels(spec))

    assert network.layers[-1].name == "score"
    assert scores.shape == (3, 1)
    assert scores.dtype == np.float32
    assert ((scores > 0) & (scores < 1)).all()
    assert len(np.unique(scores)) == 3


@each_model
def test_an_untrained_model_is_undecided(spec: ModelSpec) -> None:
    np.testing.assert_array_equal(outputs(model.build(spec, SHAPE), pixels(spec)), 0.5)


@each_model
def test_bytes_and_floats_of_the_same_pixels_score_the_same(spec: ModelSpec) -> None:
    network = model.build(spec, SHAPE)
    wake(network)
    x = pixels(spec)

    np.testing.assert_array_equal(outputs(network, x), outputs(network, x.astype(np.float32)))


@each_model
def test_a_saved_model_loads_without_this_package_and_scores_the_same(spec: ModelSpec, tmp_path: Path) -> None:
    network = model.build(spec, SHAPE)
    wake(network)
    network.save(tmp_path / "model.keras")

    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)

    np.testing.assert_array_equal(outputs(loaded, pixels(spec)), outputs(network, pixels(spec)))


@each_model
def test_layer_names_are_the_same_every_time(spec: ModelSpec) -> None:
    first, second = ([layer.name for layer in model.build(spec, SHAPE).layers] for _ in range(2))

    assert first == second


@each_model
def test_the_global_seed_decides_the_weights(spec: ModelSpec) -> None:
    def kernel(seed: int) -> np.ndarray:
        keras.utils.set_random_seed(seed)
        return np.asarray(model.build(spec, SHAPE).get_weights()[0])

    np.testing.assert_array_equal(kernel(1), kernel(1))
    assert (kernel(1) != kernel(2)).any()


def test_a_dense_model_has_the_parameters_of_its_layers() -> None:
    network = model.build(DenseSpec(units=(25, 50)), SHAPE)

    assert network.count_params() == (256 * 25 + 25) + (25 * 50 + 50) + (50 + 1)


def test_a_cnn_has_the_parameters_of_its_layers() -> None:
    network = model.build(CnnSpec(filters=(4, 8), units=(5,)), SHAPE)

    assert network.count_params() == (9 * 4 + 4) + (9 * 4 * 8 + 8) + (4 * 4 * 8 * 5 + 5) + (5 + 1)


def test_l2_counts_every_kernel_and_no_bias() -> None:
    network = model.build(CnnSpec(filters=(4,), units=(3,), l2=0.5), SHAPE)

    kernels = [w for w in network.get_weights() if w.ndim > 1]
    assert len(network.losses) == len(kernels) == 3
    assert float(sum(network.losses)) == pytest.approx(0.5 * sum((k**2).sum() for k in kernels), rel=1e-5)


@pytest.mark.parametrize("activation", ["relu", "elu", "tanh"])
def test_activation_after_max_pooling_gives_the_values_of_activation_before(activation: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    act, pool = keras.layers.Activation(activation), keras.layers.MaxPooling2D(2)

    np.testing.assert_array_equal(np.asarray(act(pool(x))), np.asarray(pool(act(x))))


def test_too_many_blocks_for_the_image_are_refused_with_the_largest_number() -> None:
    with pytest.raises(ValueError, match="at most 4 entries for images of 16×20 px, got 5"):
        model.build(CnnSpec(filters=(4,) * 5), (16, 20, 1))
    model.build(CnnSpec(filters=(4,) * 4), (16, 20, 1))


def test_a_model_computes_in_half_precision_and_scores_in_full() -> None:
    network = model.build(MODELS["cnn"], SHAPE, "mixed_bfloat16")

    assert network.get_layer("block1_conv1").compute_dtype == "bfloat16"
    assert outputs(network, pixels(MODELS["cnn"])).dtype == np.float32
