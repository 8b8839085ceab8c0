"""Draws from whole hypermodels, in this process: KerasTuner's own, and the ways in which users write them."""

from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest
from keras import layers

from pneumo_core.errors import StudyError
from pneumo_core.models import model
from pneumo_core.specs import DataSpec, KerasTunerSpec, TrialSpec
from pneumo_core.tuner import drawing, source
from pneumo_core.tuner.dialogue import Open, Question, Scalar
from tests.pneumo_core.eager import outputs

SMALL = {"conv2d_num_filters": 4, "sep_num_filters": 4, "num_residual_blocks": 2}


def draw(hypermodel: Any, answers: dict[str, Scalar] | None = None, **opened: Any) -> TrialSpec:
    def ask(question: Question) -> Scalar:
        default = question.choices[0] if question.type == "categorical" else question.low
        return (answers or {}).get(question.name, default)

    return drawing.draw(Open(source="x.py", attribute="x", **opened), hypermodel, ask)


def application(name: str, channels: int = 1, **arguments: Any) -> Any:
    arguments = {"input_shape": (40, 40, channels), "classes": 2, **arguments}
    return source.load("keras_tuner.applications", name, arguments)


def built(spec: TrialSpec) -> keras.Model:
    return model.build(spec.model, spec.data.shape)


def check_scores(network: keras.Model, spec: TrialSpec) -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, *spec.data.shape), dtype=np.uint8)
    scores = outputs(network, x)
    assert scores.shape == (3, 1)
    assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_hyper_xception(channels: int) -> None:
    data = DataSpec(image_size_px=40)
    spec = draw(application("HyperXception", channels), {"learning_rate": 1e-4}, data=data, fixed=SMALL)
    assert isinstance(spec.model, KerasTunerSpec)
    assert spec.model.name == "HyperXception"
    assert spec.model.values["learning_rate"] == 1e-4
    assert SMALL.items() <= spec.model.values.items()
    assert (spec.train.optimizer, spec.train.learning_rate) == ("adam", 1e-4)
    check_scores(built(spec), spec)


def test_hyper_resnet_next_whose_lambda_layers_become_operations() -> None:
    answers = {"version": "next", "optimizer": "rmsprop", "learning_rate": 0.01}
    spec = draw(application("HyperResNet"), answers, fixed={"conv3_depth": 1, "conv4_depth": 1})
    assert (spec.train.optimizer, spec.train.learning_rate) == ("rmsprop", 0.01)
    network = built(spec)
    strided = [x for x in network.layers if isinstance(x, layers.Conv2D) and x.kernel_size == (1, 1) != x.strides]
    assert strided == []  # their gradient would corrupt memory
    assert not any(isinstance(x, layers.Lambda) for x in network.layers)


def tiny(hp: Any) -> keras.Model:
    made = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten()])
    made.add(layers.Dense(hp.Int("units", 1, 8), activation="relu"))
    made.add(layers.Dense(1, activation="sigmoid"))
    made.compile("adam", "binary_crossentropy")
    return made


def test_a_build_function_is_a_hypermodel() -> None:
    spec = draw(
        source._hypermodel("x", tiny, {}), {"units": 5}, train={"epochs": 3, "batch_size": 16, "optimizer": "sgd"}
    )
    assert isinstance(spec.model, KerasTunerSpec)
    assert (spec.model.name, spec.model.values) == ("tiny", {"units": 5})
    assert (spec.train.epochs, spec.train.batch_size, spec.train.optimizer) == (3, 16, "sgd")
    assert spec.train.learning_rate == 0.001
    assert spec.data == DataSpec(image_size_px=8)
    assert spec == draw(
        source._hypermodel("x", tiny, {}), {"units": 5}, train={"epochs": 3, "batch_size": 16, "optimizer": "sgd"}
    )
    assert spec.digest != draw(source._hypermodel("x", tiny, {}), {"units": 6}).digest


class Reading(keras_tuner.HyperModel):  # type: ignore[misc]
    """Declares in advance, and reads what KerasTuner's Hyperband sets."""

    def declare_hyperparameters(self, hp: Any) -> None:
        hp.Int("units", 1, 4)

    def build(self, hp: Any) -> keras.Model:
        assert (hp["tuner/epochs"], hp.get("tuner/initial_epoch")) == (7, 0)
        assert (hp.values["tuner/bracket"], hp.values["tuner/round"]) == (0, 0)
        assert "tuner/trial_id" not in hp
        hp.Fixed("note", "kept")
        return tiny(hp)


def test_what_tuners_set_is_there_and_fixed_values_are_kept() -> None:
    spec = draw(Reading(name="reading"), {"units": 3}, train={"epochs": 7})
    assert isinstance(spec.model, KerasTunerSpec)
    assert (spec.model.name, spec.model.values) == ("reading", {"units": 3, "note": "kept"})


def test_what_build_raises_comes_through() -> None:
    class Failing(keras_tuner.HyperModel):  # type: ignore[misc]
        def build(self, hp: Any) -> keras.Model:
            raise keras_tuner.errors.FailedTrialError("too slow")

    with pytest.raises(keras_tuner.errors.FailedTrialError, match="too slow"):
        draw(Failing())


def test_something_else_than_a_model_is_named() -> None:
    with pytest.raises(ValueError, match=r"must return a keras\.Model, got int"):
        draw(source._hypermodel("x", lambda hp: 3, {}))


@pytest.mark.parametrize(
    ("text", "attribute", "arguments", "said"),
    [
        ("import keras_tuner\n", "Mine", {}, "no such hypermodel"),
        ("x = = 1\n", "x", {}, "SyntaxError"),
        ("raise OSError('no disk')\n", "x", {}, "OSError: no disk"),
        ("x = 3\n", "x", {}, "must be a keras_tuner.HyperModel or a function build.hp., got 3"),
        ("class X: pass\n", "X", {}, "got 'X'"),
        ("def build(hp): pass\n", "build", {"a": 1}, "`arguments` are for a class, this is a function"),
        ("from tests.pneumo_core.tuner.test_drawing import Reading as X\n", "X", {"a": 1}, "X.a=1.: TypeError"),
    ],
)
def test_a_hypermodel_that_can_t_be_had_is_named(
    tmp_path: Path, text: str, attribute: str, arguments: dict[str, Any], said: str
) -> None:
    file = tmp_path / "models.py"
    file.write_text(text)
    with pytest.raises(StudyError, match=said):
        source.load(str(file), attribute, arguments)


def test_a_file_may_import_its_neighbours_and_names_may_be_dotted(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.path", ["/nowhere", *__import__("sys").path])
    (tmp_path / "neighbour_of_models.py").write_text("class Holder:\n    def build(hp): return hp\n")
    file = tmp_path / "models.py"
    file.write_text("import neighbour_of_models\n")
    found = source.load(str(file), "neighbour_of_models.Holder.build", {})
    assert source.name_of(found) == "build"
    assert source.name_of(application("HyperXception")) == "HyperXception"
