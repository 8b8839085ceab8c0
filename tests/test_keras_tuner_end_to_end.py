"""KerasTuner hypermodels through the command line: searched, resumed, refused when changed, finalized."""

import sqlite3
from pathlib import Path

import pytest

from pneumo_core.bundles import bundle
from pneumo_core.specs import KerasTunerSpec
from tests.commands import children_of, last_json, pneumo, pneumo_here

MODELS = """
import keras, keras_tuner
from keras import layers

class Net(keras_tuner.HyperModel):
    def build(self, hp):
        pixels = keras.Input((24, 24, 3))
        maps = layers.Conv2D(hp.Choice("filters", [4, 8]), 3, strides=2, activation="relu")(pixels)
        shortcut = layers.Conv2D(4, 1, strides=4, name="shortcut")(pixels)  # a gradient that can corrupt memory
        features = layers.Concatenate()([layers.GlobalAveragePooling2D()(m) for m in (maps, shortcut)])
        if hp.Boolean("hidden"):
            features = layers.Dense(hp.Int("units", 4, 16), activation="relu")(features)
        model = keras.Model(pixels, layers.Dense(2, activation="softmax")(features))
        rate = hp.Float("learning_rate", 1e-3, 1e-2, sampling="log")
        model.compile(keras.optimizers.Adam(rate), "categorical_crossentropy")
        return model
"""

STUDY = """
from pneumo_core.specs import DataSpec, ObjectiveSpec
from spaces.keras_tuner import from_keras_tuner
from studies.spec import BudgetSpec, PrunerSpec, StudySpec
{imports}

STUDY = StudySpec(
    name="tuned",
    space=from_keras_tuner({hypermodel}, data=DataSpec(image_size_px=24), epochs=2, batch_size=16),
    objective=ObjectiveSpec(fnr_ceiling=0.95, specificity_floor=0.05),
    pruner=PrunerSpec(kind="none"),
    budget=BudgetSpec(trials=2),
)
"""


def test_a_hypermodel_is_searched_resumed_shown_and_refused_when_it_changed(phantoms: Path, tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "tuned.py").write_text(STUDY.format(imports="", hypermodel='"models.py:Net"'))
    launch = ("launch", "tuned.py", "--data", phantoms, "--device", "cpu", "--json")
    found = last_json(pneumo_here(*launch, folder=tmp_path))
    assert found["trials"] == {"complete": 2, "pruned": 0, "failed": 0}
    assert last_json(pneumo_here(*launch, folder=tmp_path)) == found  # the stored study is the same, with nothing to do
    assert last_json(pneumo_here("status", "tuned.py", "--json", folder=tmp_path)) == found
    assert children_of(tmp_path) == []

    with sqlite3.connect(tmp_path / "runs" / "pneumo.db") as database:
        names = {name for (name,) in database.execute("select distinct param_name from trial_params")}
        [longest] = database.execute(
            "select max(length(value_json)) from trial_user_attributes where key = 'spec'"
        ).fetchone()
    assert {"filters", "hidden", "learning_rate"} <= names <= {"filters", "hidden", "learning_rate", "units"}
    assert longest < 5000

    (tmp_path / "models.py").write_text(MODELS.replace('"units", 4, 16', '"units", 4, 32') + "# and a comment\n")
    refused = pneumo_here(*launch, folder=tmp_path, code=2).stderr
    assert "space: units: stored int in [4, 16], now int in [4, 32]" in refused


@pytest.mark.slow
def test_a_hypermodel_in_the_study_file_becomes_a_bundle_that_needs_neither(phantoms: Path, tmp_path: Path) -> None:
    study = MODELS + STUDY.format(imports="", hypermodel="Net()")
    (tmp_path / "tuned.py").write_text(study)
    pneumo("launch", "tuned.py", "--data", phantoms, "--device", "cpu", folder=tmp_path)
    shown = pneumo_here("spaces", "tuned.py", folder=tmp_path).stdout
    assert "filters" in shown
    assert "one of 4, 8" in shown
    finalize = ("finalize", "tuned.py", "--members", 1, "--device", "cpu", "--data", phantoms)
    pneumo(*finalize, "--out", "b", folder=tmp_path)
    (tmp_path / "tuned.py").unlink()
    [member] = bundle.read(tmp_path / "b").members
    assert isinstance(member.spec.model, KerasTunerSpec)
    assert member.spec.model.name == "Net"
    image = next((phantoms / "NORMAL").iterdir())
    [row] = last_json(pneumo("predict", "b", image, "--json", folder=tmp_path))
    assert 0 <= row["score"] <= 1


@pytest.mark.slow
def test_kerastuners_own_resnets_train(phantoms: Path, tmp_path: Path) -> None:
    queued = [
        {"version": v, "conv3_depth": 4, "conv4_depth": 6, "pooling": "avg", "optimizer": o, "learning_rate": 0.001}
        for v, o in (("v1", "adam"), ("v2", "sgd"), ("next", "rmsprop"))
    ]
    (tmp_path / "resnets.py").write_text(
        "from spaces.keras_tuner import from_keras_tuner\n"
        "from studies.spec import BudgetSpec, StudySpec\n"
        "STUDY = StudySpec(name='resnets', budget=BudgetSpec(trials=3), enqueue=" + repr(tuple(queued)) + ",\n"
        "    space=from_keras_tuner('keras_tuner.applications:HyperResNet', epochs=2, steps_per_epoch=4,\n"
        "        batch_size=8, arguments={'input_shape': (32, 32, 1), 'classes': 2}))\n"
    )
    done = pneumo("launch", "resnets.py", "--data", phantoms, "--device", "cpu", "--json", folder=tmp_path, code=None)
    assert last_json(done)["trials"] == {"complete": 3, "pruned": 0, "failed": 0}, done.stderr
