"""Networks run forward: ONNX Runtime gives what Keras gives, from models and from their files."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from pneumo_core.errors import BundleError
from pneumo_core.models import backbones, described, forward, model
from pneumo_core.models.described import Undescribed
from pneumo_core.specs import BackboneSpec, CnnSpec, DataSpec, DenseSpec, ModelSpec
from tests.pneumo_core import tiny_lite
from tests.pneumo_core.eager import outputs
from tests.pneumo_core.models.test_backbones import needs_lite

SIDE_PX = 23  # odd: padding differs from side to side
MODELS: dict[str, ModelSpec] = {
    "dense": DenseSpec(units=(5, 4), normalization="batch", dropout=0.2),
    "dense, gelu": DenseSpec(units=(5,), activation="gelu", normalization="layer", l2=0.01),
    "max": CnnSpec(filters=(3, 4), convolutions_per_block=2, normalization="batch", dropout=0.1),
    "average": CnnSpec(filters=(3, 4), pooling="average", kernel_px=5, activation="silu", head="average", units=(6,)),
    "stride": CnnSpec(filters=(3, 4), pooling="stride", residual=True, normalization="layer", activation="elu"),
    "1 px": CnnSpec(filters=(3, 4), pooling="stride", kernel_px=1, residual=True, activation="tanh"),
}


def pixels(side_px: int = SIDE_PX, channels: int = 1, n: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, side_px, side_px, channels), dtype=np.uint8)


def woken(network: keras.Model) -> keras.Model:
    """Give biases, norms and the last layer values that tell images apart."""
    rng = np.random.default_rng(1)
    for layer in network.layers:
        if "norm" in layer.name:
            layer.set_weights([rng.uniform(0.2, 1.2, weight.shape) for weight in layer.get_weights()])
        elif layer.name == "logit":
            layer.set_weights([rng.normal(0, 0.03, weight.shape) for weight in layer.get_weights()])
    return network


def agree(network: keras.Model, x: np.ndarray, file: Path) -> None:
    """See that the fast engine, from the model and from its file, gives what Keras gives."""
    network.save(file)
    expected = forward.with_keras(network).outputs(x)
    for engine in (forward.of_model(network), forward.of_file(file)):
        assert engine.name.startswith("onnxruntime")
        np.testing.assert_allclose(engine.outputs(x), expected, atol=1e-5 * max(1, np.abs(expected).max()))
    assert np.ptp(expected) > 1e-4  # else the tolerance says nothing


@pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS)
def test_our_networks_score_as_in_keras(spec: ModelSpec, tmp_path: Path) -> None:
    agree(woken(model.build(spec, (SIDE_PX, SIDE_PX, 1))), pixels(), tmp_path / "model.keras")


def test_a_backbone_scores_as_in_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_lite.shrink(monkeypatch)
    network = woken(backbones.build(BackboneSpec(), (47, 47, 1)))

    agree(network, pixels(47, n=4), tmp_path / "model.keras")


@needs_lite
def test_real_weights_score_as_in_keras() -> None:
    network = backbones.build(BackboneSpec(), (47, 47, 1))
    x = pixels(47, n=4)
    maps = keras.Model(network.input, network.get_layer("features").output)
    expected = outputs(maps, x)

    np.testing.assert_allclose(forward.of_model(maps).outputs(x), expected, atol=1e-5 * np.abs(expected).max())


def test_networks_of_other_kinds_agree(tmp_path: Path) -> None:
    network = keras.Sequential(
        [
            keras.Input((9, 9, 2)),
            layers.ZeroPadding2D(((0, 1), (2, 0))),
            layers.SeparableConv2D(4, 3, depth_multiplier=2, activation="relu"),
            layers.MaxPooling2D(2, padding="same"),
            layers.Conv2D(4, 3, groups=2, dilation_rate=2, padding="same", activation="hard_silu"),
            layers.ReLU(),
            layers.GlobalMaxPooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )

    agree(network, pixels(9, 2), tmp_path / "model.keras")


def test_what_it_does_not_know_runs_in_keras(tmp_path: Path) -> None:
    network = keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(1, "sigmoid"), layers.PReLU()])
    network.save(tmp_path / "model.keras")

    for engine in (forward.of_model(network), forward.of_file(tmp_path / "model.keras")):
        assert engine.name == forward.name_for(network)
        assert engine.name.startswith("keras")
        assert engine.scores(pixels(4)).shape == (40,)


def test_other_number_formats_and_shared_layers_are_left_to_keras() -> None:
    shared, x = layers.Dense(4), keras.Input((4,))
    twice = keras.Model(x, shared(shared(x)))
    half = model.build(CnnSpec(filters=(3,)), (8, 8, 1), "mixed_bfloat16")

    for network in (twice, half):
        with pytest.raises(Undescribed):
            described.of_model(network)


def test_no_images_have_no_scores() -> None:
    engine = forward.of_model(model.build(DenseSpec(), (4, 4, 1)))

    assert engine.scores(pixels(4)[:0]).shape == (0,)


def test_a_file_for_other_images_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    model.build(DenseSpec(), (4, 4, 1)).save(tmp_path / "model.keras")
    (tmp_path / "text.keras").write_text("hello")

    with pytest.raises(BundleError, match="must take images"):
        forward.of_file(tmp_path / "model.keras", DataSpec(image_size_px=8))
    with pytest.raises(BundleError, match="isn't a Keras model"):
        forward.of_file(tmp_path / "text.keras")


def test_a_file_is_scored_without_loading_keras(tmp_path: Path) -> None:
    model.build(CnnSpec(filters=(3,)), (8, 8, 1)).save(tmp_path / "model.keras")
    code = (
        "import sys; from pathlib import Path; import numpy as np; from pneumo_core.models import forward;"
        f"print(forward.of_file(Path({str(tmp_path / 'model.keras')!r})).scores(np.zeros((1, 8, 8, 1), np.uint8)));"
        "assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[0.5]\n"
