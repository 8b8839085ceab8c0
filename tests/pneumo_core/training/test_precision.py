"""Training in bfloat16: weights, score and saved model are float32, and no policy is left behind."""

from pathlib import Path

import keras
import numpy as np
import pytest

from pneumo_core.models import forward, model, network
from pneumo_core.specs import (
    BackboneSpec,
    CnnSpec,
    DenseSpec,
    KerasTunerSpec,
    ModelSpec,
    ObjectiveSpec,
    TrainSpec,
    TrialSpec,
)
from pneumo_core.training import precision
from pneumo_core.training.train import numpy_copies
from pneumo_core.training.trial import Trained, build_and_train, run_trial
from tests.pneumo_core.images import arrays
from tests.pneumo_core.training.test_trial import go_on

SHAPE = (12, 12, 1)
MODELS: dict[str, ModelSpec] = {
    "dense": DenseSpec(units=(6,), normalization="batch", dropout=0.1),
    "cnn": CnnSpec(filters=(4, 8), normalization="batch", residual=True, l2=1e-4, units=(5,)),
}
each_model = pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS)


def trial(spec: ModelSpec, **train: object) -> TrialSpec:
    return TrialSpec(model=spec, train=TrainSpec(epochs=3, batch_size=16, learning_rate=0.01, **train))  # type: ignore[arg-type]


@each_model
def test_layers_compute_in_bfloat16_while_weights_and_score_are_float32(spec: ModelSpec) -> None:
    before = keras.config.dtype_policy().name
    built = model.build(spec, SHAPE, "mixed_bfloat16")

    hidden = [layer for layer in built.layers if layer.name not in ("pixels", "logit", "score")]
    assert {layer.compute_dtype for layer in hidden} == {"bfloat16"}
    assert {weight.dtype for weight in built.weights if "seed" not in weight.path} == {"float32"}
    assert built.output.dtype == "float32"
    assert keras.config.dtype_policy().name == before


def test_the_policy_is_put_back_when_building_fails() -> None:
    before = keras.config.dtype_policy().name
    with pytest.raises(ValueError, match="filters"):
        model.build(CnnSpec(filters=(4,) * 5), SHAPE, "mixed_bfloat16")

    assert keras.config.dtype_policy().name == before


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS)
def mixed(request: pytest.FixtureRequest) -> tuple[ModelSpec, Trained]:
    """A model's spec, and what training it in bfloat16 came to."""
    spec = request.param
    return spec, build_and_train(trial(spec, precision="mixed_bfloat16"), ObjectiveSpec(), arrays(), 5, go_on)


def test_a_trial_ends_near_where_float32_ends(mixed: tuple[ModelSpec, Trained]) -> None:
    spec, found = mixed[0], mixed[1].result
    exact = run_trial(trial(spec, precision="float32"), ObjectiveSpec(), arrays(), 5, go_on)

    assert found.scores != exact.scores
    np.testing.assert_allclose(found.scores, exact.scores, atol=0.15)
    assert found.history[-1]["loss"] < found.history[0]["loss"]


def test_the_saved_model_is_float32_with_the_trained_weights(mixed: tuple[ModelSpec, Trained], tmp_path: Path) -> None:
    _, trained = mixed
    file = tmp_path / "model.keras"
    model.in_float32(trained.model).save(file)

    loaded = network.load(file)

    assert "bfloat16" not in loaded.to_json()
    for mine, theirs in zip(numpy_copies(loaded.weights), numpy_copies(trained.model.weights), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_allclose(forward.of_model(loaded).scores(arrays().x_validation), trained.result.scores, atol=0.02)


def test_a_float32_model_is_saved_as_it_is() -> None:
    built = model.build(MODELS["cnn"], SHAPE)

    assert model.in_float32(built) is built


def test_a_keras_tuner_model_keeps_its_own_precision() -> None:
    spec = KerasTunerSpec(name="theirs", values={}, network="{}")
    with pytest.raises(ValueError, match="`precision` must be 'float32' for 'theirs', got 'mixed_bfloat16'"):
        trial(spec, precision="mixed_bfloat16")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx512f avx512_bf16 amx_bf16 amx_tile", "mixed_bfloat16"),
        ("fpu avx512f avx512_bf16", "float32"),
        (None, "float32"),  # not a Linux
    ],
    ids=["amx", "avx-512", "unknown"],
)
def test_auto_is_bfloat16_where_the_processor_multiplies_matrices_in_it(
    flags: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = tmp_path / "cpuinfo"
    if flags is not None:
        facts.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t:\n\n", "utf-8")
    monkeypatch.setattr(precision, "CPU_FACTS", facts)

    found = precision.of(trial(MODELS["cnn"], precision="auto"))
    assert found == (expected if keras.backend.backend() == "tensorflow" else "float32")


def test_a_trial_with_auto_is_the_trial_with_what_the_machine_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = tmp_path / "cpuinfo"
    facts.write_text("flags : amx_bf16\n", "utf-8")
    monkeypatch.setattr(precision, "CPU_FACTS", facts)
    auto = trial(MODELS["dense"], precision="auto")

    result = run_trial(auto, ObjectiveSpec(), arrays(), 5, go_on)

    assert result.environment["precision"] == precision.of(auto)
    same = run_trial(trial(MODELS["dense"], precision=precision.of(auto)), ObjectiveSpec(), arrays(), 5, go_on)
    assert result.scores == same.scores


def test_what_a_trial_asks_for_is_not_changed_by_the_machine() -> None:
    for name in ("float32", "mixed_bfloat16"):
        assert precision.of(trial(MODELS["cnn"], precision=name)) == name


@pytest.mark.parametrize(
    "spec", [KerasTunerSpec(name="theirs", values={}, network="{}"), BackboneSpec()], ids=lambda s: s.kind
)
def test_auto_leaves_networks_of_others_in_float32(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text("flags : amx_bf16\n", "utf-8")
    monkeypatch.setattr(precision, "CPU_FACTS", tmp_path / "cpuinfo")

    assert precision.of(TrialSpec(model=spec, train=TrainSpec(precision="auto"))) == "float32"
