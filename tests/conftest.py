import gc
from pathlib import Path

import pytest
from hypothesis import settings

from pneumo_core.data.phantom import PhantomSpec, generate

# The same examples in every run: a failure by chance says nothing about the change that it stops.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.load_profile("suite")


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what was imported, as trainers do: every training collects."""
    gc.freeze()


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 240 phantoms of 32 px in the Kaggle layout."""
    return generate(tmp_path_factory.mktemp("phantoms"), PhantomSpec(n_images=240, image_size_px=32))
