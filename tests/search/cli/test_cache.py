"""`pneumo data cache` as a user runs it."""

from pathlib import Path

import numpy as np

from pneumo_core.training import feature_store
from tests.commands import pneumo_here


def test_kept_features_are_shown_with_their_size_and_limit(tmp_path: Path) -> None:
    folder = feature_store.folder_in(tmp_path / "runs" / "cache")
    feature_store.open_or_build(folder, "key", (10, 1280), iter([np.zeros((10, 1280), np.float32)]))

    shown = pneumo_here("data", "cache", folder=tmp_path, PNEUMO_FEATURES_GB="3").stdout

    assert "key  0.1 MB" in shown
    assert "1 arrays of features, 0.000 GB of 3 GB (PNEUMO_FEATURES_GB)" in shown
    assert (
        "`PNEUMO_FEATURES_GB` must be"
        in pneumo_here("data", "cache", folder=tmp_path, code=2, PNEUMO_FEATURES_GB="-1").stderr
    )
