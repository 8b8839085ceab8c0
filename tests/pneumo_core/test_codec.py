import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumo_core import codec
from pneumo_core.specs import BackboneSpec, CnnSpec, DenseSpec, TrainSpec, TrialSpec

models = st.one_of(
    st.builds(DenseSpec, units=st.lists(st.integers(1, 512), min_size=1, max_size=4).map(tuple)),
    st.builds(CnnSpec, filters=st.lists(st.integers(1, 64), min_size=1, max_size=4).map(tuple)),
    st.builds(BackboneSpec, trainable_from=st.sampled_from([None, "all"]), dropout=st.floats(0, 0.9)),
)


@given(model=models, learning_rate=st.floats(1e-6, 1), steps=st.none() | st.integers(1, 100))
def test_a_spec_survives_json(model: DenseSpec | CnnSpec | BackboneSpec, learning_rate: float, steps: int) -> None:
    spec = TrialSpec(model=model, train=TrainSpec(learning_rate=learning_rate, steps_per_epoch=steps))
    text = json.dumps(codec.to_json(spec))
    again = codec.from_json(TrialSpec, json.loads(text))
    assert again == spec
    assert again.digest == spec.digest


def test_the_digest_tells_specs_apart() -> None:
    one = TrialSpec(model=DenseSpec(units=(8,)))
    assert one.digest != TrialSpec(model=DenseSpec(units=(9,))).digest
    assert one.digest == TrialSpec(model=DenseSpec(units=(8,))).digest


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ({"kind": "cnn", "filters": [8], "kernle_px": 3}, ["kernle_px", "kernel_px"]),
        ({"kind": "transformer"}, ["kind", "transformer", "cnn"]),
        ({"kind": "cnn", "filters": "8"}, ["filters", "list"]),
        ({"kind": "cnn", "filters": [8.5]}, ["filters[0]", "8.5"]),
        ({"kind": "cnn", "filters": [True]}, ["filters[0]", "True"]),
        ({"kind": "dense", "units": [8], "dropout": 1.2}, ["dropout", "[0, 1)", "1.2"]),
        ({"kind": "dense", "units": [8], "activation": "swish"}, ["activation", "swish", "relu"]),
        ([], ["object"]),
    ],
)
def test_an_error_names_field_value_and_what_is_allowed(data: object, names: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        codec.from_json(TrialSpec, {"model": data})
    assert all(name in str(caught.value) for name in names)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ValueError, match="model"):
        codec.from_json(TrialSpec, {})


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ({"model": {"kind": []}}, ["model.kind", "[]"]),
        ({"model": {"kind": {"cnn": 1}}}, ["model.kind"]),
        ({"model": {"kind": "cnn"}, "train": {"learning_rate": 10**400}}, ["train.learning_rate", "fits"]),
        ({"model": {"kind": "cnn"}, "train": {"learning_rate": float("nan")}}, ["learning_rate", "nan"]),
        ({"model": {"kind": "dense", "units": [10**30]}}, ["units"]),
    ],
)
def test_what_no_spec_can_hold_is_a_value_error_naming_the_field(data: object, names: list[str]) -> None:
    with pytest.raises(ValueError) as raised:
        codec.from_json(TrialSpec, data)
    assert all(name in str(raised.value) for name in names)


def test_a_value_in_a_message_is_short_whatever_it_is() -> None:
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ValueError, match="must be an object, got a list"):
        codec.from_json(TrialSpec, deep)
    with pytest.raises(ValueError) as raised:
        codec.from_json(TrialSpec, "x" * 10**6)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("n_levels", [101, 1500, 100_000])
def test_text_from_outside_may_not_be_deep(n_levels: int) -> None:
    with pytest.raises(ValueError, match="at most 100 levels"):
        codec.parse(b"[" * n_levels + b"]" * n_levels)


def test_text_from_outside_is_parsed() -> None:
    assert codec.parse("[" * 100 + "]" * 100)
    assert codec.parse(b'{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}
    with pytest.raises(ValueError):
        codec.parse(b"\xff\xfe")
