import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from pneumo_core import quick_keras
from pneumo_core.data.phantom import PhantomSpec, generate

# The same examples in every run: a failure by chance says nothing about the change that it stops.
settings.register_profile("suite", derandomize=True, deadline=None)
# `make mutants` wants to know whether a test fails, not the smallest example that fails it.
settings.register_profile("mutants", settings.get_profile("suite"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("suite")
gc.disable()  # until all is imported


def pytest_pycollect_makemodule(module_path: Path) -> None:
    """Import Keras as trainers do, which takes half the time, before a test imports it."""
    if module_path.parent.name in ("bundles", "models", "training", "tuner"):
        quick_keras.load()


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what was imported, as trainers do, and look less often."""
    gc.freeze()
    gc.set_threshold(20_000)
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Leave alone what a test that collected garbage leaves behind as well: TensorFlow keeps much of each training."""
    before = n_full_collections()
    result = yield
    if n_full_collections() > before:
        gc.collect()
        gc.freeze()
    return result


def n_full_collections() -> int:
    return int(gc.get_stats()[2]["collections"])


@pytest.fixture(scope="session", autouse=True)
def _clusters_of_one_process() -> Iterator[None]:
    """Keep Ray from joining the cluster of another process of tests, which it finds by a file in this folder."""
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # short: Ray makes sockets in it
    os.environ["RAY_TMPDIR"] = folder
    yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 240 phantoms of 32 px in the Kaggle layout."""
    return generate(tmp_path_factory.mktemp("phantoms"), PhantomSpec(n_images=240, image_size_px=32))
