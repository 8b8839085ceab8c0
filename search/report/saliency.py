"""Where a finished bundle looks in the images that a study's best trial got wrong.

Trials keep no models, so the overlays are those of the bundle that `pneumo finalize` made: the same recipe, trained
anew.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from pneumo_core.bundles.bundle_process import Predict
from pneumo_core.progress import Progress
from search.bundle_client import ask
from search.report.evidence import OverlaysFor
from search.report.gallery import Overlays


def from_bundle(bundle: Path, progress: Progress) -> OverlaysFor:
    """Return the function that has `bundle` draw overlays; it raises `UserError` for what is no whole bundle."""

    def overlays(files: Mapping[int, Path]) -> Overlays:
        if not files:
            return {}
        with tempfile.TemporaryDirectory() as folder:
            paths = tuple(map(str, files.values()))
            found = ask(Predict(bundle=str(bundle), paths=paths, heatmaps=folder), progress)
            drawn = zip(files, found, strict=True)
            return {row: Path(one["heatmap"]).read_bytes() for row, one in drawn if "heatmap" in one}

    return overlays
