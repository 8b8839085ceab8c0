"""Models as KerasTuner's users build them, translated into networks from raw pixels to one score."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pneumo_core.models import stock, stored
from pneumo_core.specs import DataSpec, KerasTunerSpec
from pneumo_core.tuner import compiled, translate
from tests.pneumo_core.eager import outputs

DATA = DataSpec(image_size_px=12)


def features(channels: int = 1) -> tuple[Any, Any]:
    pixels = keras.Input((12, 12, channels))
    return pixels, layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(pixels))


def model(*ending: keras.Layer, loss: Any = "binary_crossentropy", optimizer: Any = "adam") -> keras.Model:
    pixels, x = features()
    for layer in ending:
        x = layer(x)
    made = keras.Model(pixels, x)
    made.compile(optimizer, loss)
    return made


def translate_it(made: keras.Model, data: DataSpec = DATA, pixels: tuple[float, float] = (0.0, 1.0)) -> keras.Model:
    plain = translate.flat(made, data)
    return translate.translated(plain, translate.image_spec(made, data), pixels, compiled.loss_of(made))


def images(data: DataSpec = DATA, n: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, *data.shape), dtype=np.uint8)


CATEGORICAL = keras.losses.CategoricalCrossentropy(from_logits=True)
SPARSE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
BINARY = keras.losses.BinaryCrossentropy(from_logits=True)


def sigmoid(columns: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-columns))


def softmax(columns: np.ndarray) -> np.ndarray:
    return np.exp(columns) / np.exp(columns).sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("ending", "loss", "score"),
    [
        ([layers.Dense(1, activation="sigmoid")], "binary_crossentropy", lambda out: out[:, 0]),
        ([layers.Dense(1), layers.Activation("sigmoid")], None, lambda out: out[:, 0]),
        ([layers.Dense(1)], BINARY, lambda out: sigmoid(out[:, 0])),
        ([layers.Dense(2, activation="softmax")], "categorical_crossentropy", lambda out: out[:, 1]),
        ([layers.Dense(2), layers.Softmax()], "sparse_categorical_crossentropy", lambda out: out[:, 1]),
        ([layers.Dense(2), layers.Activation("softmax")], "categorical_crossentropy", lambda out: out[:, 1]),
        ([layers.Dense(2)], CATEGORICAL, lambda out: softmax(out)[:, 1]),
        ([layers.Dense(2)], SPARSE, lambda out: softmax(out)[:, 1]),
    ],
)
def test_the_score_is_the_positive_column_of_the_model(
    ending: list[keras.Layer], loss: Any, score: Callable[[np.ndarray], np.ndarray]
) -> None:
    made = model(*[type(layer).from_config(layer.get_config()) for layer in ending], loss=loss)
    found = translate_it(made)
    for layer in made.layers:  # the last dense one is new without its activation
        if layer.weights:
            found.get_layer(layer.name).set_weights(layer.get_weights())
    x = images()
    expected = score(outputs(made, x.astype(np.float32) / 255))
    np.testing.assert_allclose(outputs(found, x)[:, 0], expected, atol=1e-6)
    assert found.get_layer("score").input is found.get_layer("logit").output


@pytest.mark.parametrize(
    ("ending", "loss", "said"),
    [
        ([layers.Dense(1)], "binary_crossentropy", "ends in linear of shape"),
        ([layers.Dense(3, activation="softmax")], "categorical_crossentropy", r"\(None, 3\)"),
        ([layers.Dense(2, activation="sigmoid")], "categorical_crossentropy", "ends in sigmoid of shape"),
        ([layers.Dense(1, activation="softmax")], "binary_crossentropy", "ends in softmax of shape"),
        ([layers.Dense(1, activation="sigmoid")], "mse", "the loss 'mean_squared_error', but training minimises"),
        ([layers.Dense(1, activation="sigmoid", name="score")], None, "a layer named 'score'"),
    ],
)
def test_another_ending_is_refused_by_name(ending: list[keras.Layer], loss: Any, said: str) -> None:
    made = model(*[type(layer).from_config(layer.get_config()) for layer in ending], loss=loss)
    with pytest.raises(ValueError, match=said):
        translate_it(made)


def test_pixels_come_in_the_range_and_the_channels_that_the_model_wants() -> None:
    pixels, x = features(channels=3)
    made = keras.Model(pixels, layers.Dense(1, activation="sigmoid", kernel_initializer="ones")(x))
    found = translate_it(made, pixels=(-1.0, 1.0))
    found.layers[-3].set_weights(made.layers[-1].get_weights())
    x = images()
    wanted = np.repeat(x.astype(np.float32) / 127.5 - 1, 3, axis=-1)
    np.testing.assert_allclose(outputs(found, x), outputs(made, wanted), atol=1e-6)
    assert found.input_shape == (None, 12, 12, 1)
    assert not any(layer.name == "scaled" for layer in translate_it(made, pixels=(0, 255)).layers)


def test_what_images_the_model_takes_is_read_from_it() -> None:
    assert translate.image_spec(model(layers.Dense(1)), None) == DataSpec(image_size_px=12, channels=1)
    unbuilt = keras.Sequential([layers.Flatten(), layers.Dense(1, activation="sigmoid")])
    assert translate.image_spec(unbuilt, None) == DataSpec()
    assert translate_it(unbuilt).input_shape == (None, 12, 12, 1)
    flat = keras.Sequential([keras.Input((144,)), layers.Dense(1, activation="sigmoid")])
    assert translate_it(flat).input_shape == (None, 12, 12, 1)
    with pytest.raises(ValueError, match=r"takes \(144,\): say which images"):
        translate.image_spec(flat, None)
    with pytest.raises(ValueError, match=r"takes \(12, 12, 1\), but `data` gives images of \(16, 16, 1\)"):
        translate.image_spec(model(layers.Dense(1)), DataSpec(image_size_px=16))
    with pytest.raises(ValueError, match=r"gives images of \(12, 12, 3\)"):
        translate.image_spec(model(layers.Dense(1)), DataSpec(image_size_px=12, channels=3))


def nested() -> keras.Model:
    pixels = keras.Input((12, 12, 1))
    inner = keras.Sequential([layers.Conv2D(3, 1, strides=2, name="strided"), layers.BatchNormalization(name="norm")])
    inner.trainable = False
    x = layers.Lambda(lambda maps: maps[:, 1:] * 2.0 + 1.0)(inner(pixels))
    x = keras.ops.mean(keras.ops.relu(x), axis=(1, 2))
    return keras.Model(pixels, layers.Dense(1, activation="sigmoid", name="last")(x))


def test_submodels_lambdas_and_operations_become_stock_layers_that_compute_the_same() -> None:
    made = nested()
    found = translate_it(made)
    rebuilt = stored.build(KerasTunerSpec(name="nested", values={}, network=stored.pack(found)), DATA.shape)
    for layer in rebuilt.layers:
        if layer.weights:
            layer.set_weights(found.get_layer(layer.name).get_weights())
    rebuilt.get_layer("last").set_weights(made.get_layer("last").get_weights())
    x = images()
    expected = outputs(made, x.astype(np.float32) / 255)
    np.testing.assert_allclose(outputs(rebuilt, x), expected, atol=1e-6)
    assert rebuilt.get_layer("strided").strides == (1, 1)
    assert [layer.name for layer in rebuilt.layers if layer.weights and not layer.trainable] == ["strided", "norm"]


def test_a_layer_of_the_users_own_is_refused_by_name() -> None:
    class Mine(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(ValueError, match="Mine, which isn't a plain Keras layer"):
        stored.pack(translate_it(model(Mine(), layers.Dense(1, activation="sigmoid"))))


def test_a_subclassed_model_and_two_inputs_are_refused() -> None:
    class Mine(keras.Model):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(ValueError, match=r"returns a Mine, a subclass of keras.Model, whose layers can't be seen"):
        translate.check_graph(Mine())
    two = [keras.Input((12, 12, 1)), keras.Input((12, 12, 1))]
    joined = layers.Dense(1, activation="sigmoid")(layers.Flatten()(layers.Add()(two)))
    with pytest.raises(ValueError, match="one input and one output, got 2 and 1"):
        translate.check_graph(keras.Model(two, joined))


def test_weights_that_build_brings_are_noticed() -> None:
    with translate.assignments() as assigned:
        made = model(layers.Dense(1, activation="sigmoid"))
        made.optimizer.learning_rate = 0.5
    translate.check_untouched(made, assigned, [])
    with translate.assignments() as assigned:
        made.layers[1].set_weights(made.layers[1].get_weights())
    with pytest.raises(ValueError, match=r"gives layer 'conv2d\w*' weights of its own"):
        translate.check_untouched(made, assigned, [])
    translate.check_untouched(made, assigned, made.layers[1].weights)


def test_a_lambda_of_another_library_is_said_to_be_one() -> None:
    made = model(layers.Lambda(tf.nn.leaky_relu, output_shape=(4,)), layers.Dense(1, activation="sigmoid"))
    with pytest.raises(ValueError, match=r"a Lambda of operations that are not Keras' own, such as TensorFlow's"):
        translate_it(made)


def test_a_network_survives_its_text_and_is_the_same_text_again() -> None:
    text = stored.pack(translate_it(nested()))
    keras.utils.clear_session()
    first = stored.pack(translate_it(nested()))
    keras.utils.clear_session()
    assert stored.pack(translate_it(nested())) == first
    assert len(text) < 4000


@pytest.mark.parametrize("text", ["", "no base85 \x00", "abcde", "VF7)%"])
def test_a_text_that_is_no_network_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="`network`"):
        stored.build(KerasTunerSpec(name="x", values={}, network=text), DATA.shape)


def test_images_of_another_shape_are_an_error() -> None:
    spec = KerasTunerSpec(name="x", values={}, network=stored.pack(translate_it(nested())))
    with pytest.raises(ValueError, match=r"takes images of \(12, 12, 1\), got \(16, 16, 1\)"):
        stored.build(spec, (16, 16, 1))


def test_a_description_with_code_is_never_made() -> None:
    inner = {"class_name": "Lambda", "module": "keras.layers", "config": {}}
    assert stock.foreign_class({"layers": [inner]}) == "keras.layers.Lambda"
    for module, name in [("os", "system"), ("keras.src.ops.numpy", "np"), ("keras.src.ops.numpy", "missing")]:
        assert stock.foreign_class({"module": module, "class_name": name}) == f"{module}.{name}"
    assert stock.foreign_class({"module": "keras.src.ops.numpy", "class_name": "Add"}) is None
