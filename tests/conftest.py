from pathlib import Path

import pytest

from pneumo_core.data.phantom import PhantomSpec, generate


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 240 phantoms of 32 px in the Kaggle layout."""
    return generate(tmp_path_factory.mktemp("phantoms"), PhantomSpec(n_images=240, image_size_px=32))
