"""Programs that are kept from one trial to the next."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import pytest

from pneumo_core.data.preprocess import Origin
from pneumo_core.specs import DenseSpec, ObjectiveSpec, TrainSpec, TrialSpec
from pneumo_core.training.trial import run_trial
from tests.pneumo_core.images import arrays
from tests.pneumo_core.training.test_trial import go_on

if keras.backend.backend() != "jax":
    pytest.skip("only JAX keeps programs", allow_module_level=True)

import jax
from jax.experimental.compilation_cache import compilation_cache

from pneumo_core.training import programs_jax

SETTING = "jax_compilation_cache_dir"


@pytest.fixture(autouse=True)
def accelerated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let trials do as on an accelerator, here, and afterwards keep nothing again."""
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(programs_jax, "LEAST_S", 0.0)
    yield
    jax.config.update(SETTING, None)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", before)
    compilation_cache.reset_cache()


def run(cache: Path, rate: float) -> set[Path]:
    """Return the kept files after a trial whose arrays are in `cache`."""
    train = TrainSpec(epochs=2, batch_size=16, learning_rate=rate)
    images = replace(arrays(), origin=Origin(cache_dir=cache, digest="0"))
    run_trial(TrialSpec(model=DenseSpec(units=(5,)), train=train), ObjectiveSpec(), images, int(1e4 * rate), go_on)
    return {file for file in (cache / programs_jax.FOLDER).rglob("*") if file.is_file()}


def test_a_second_trial_of_the_same_shapes_compiles_nothing_anew(tmp_path: Path) -> None:
    first = run(tmp_path, 0.01)

    assert first
    assert run(tmp_path, 0.02) == first


def test_nothing_is_read_from_where_others_can_write(tmp_path: Path) -> None:
    (tmp_path / programs_jax.FOLDER).mkdir()
    (tmp_path / programs_jax.FOLDER).chmod(0o777)

    programs_jax.keep_in(tmp_path)

    assert not jax.config.jax_compilation_cache_dir


def test_the_users_own_place_stays(tmp_path: Path) -> None:
    jax.config.update(SETTING, str(tmp_path / "own"))

    programs_jax.keep_in(tmp_path)

    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own")


def test_on_the_cpu_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")

    programs_jax.keep_in(tmp_path)

    assert not jax.config.jax_compilation_cache_dir
    assert not list(tmp_path.iterdir())


def test_the_oldest_goes_where_there_is_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for age, name in enumerate("abc"):
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    monkeypatch.setattr(programs_jax, "LIMIT_BYTES", 25)

    programs_jax.make_room(tmp_path)

    assert {file.name for file in tmp_path.iterdir()} == {"a", "b"}
