import os
from pathlib import Path

import pytest

from pneumo_core.data.phantom import PhantomSpec, generate

os.environ.setdefault("PNEUMO_WORKERS", "1")  # each trainer costs 5 CPU seconds, and what runs alone comes out the same


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 240 phantoms of 32 px in the Kaggle layout."""
    return generate(tmp_path_factory.mktemp("phantoms"), PhantomSpec(n_images=240, image_size_px=32))
