"""A study's images, ready to train on: scanned, divided into roles, and made into arrays when they are needed."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from pneumo_core.data.dataset import scan
from pneumo_core.data.manifest import Manifest
from pneumo_core.data.preprocess import prepare
from pneumo_core.data.scanned import Scanned
from pneumo_core.data.split import Split, assign_roles
from pneumo_core.errors import StudyError
from pneumo_core.files import storage_errors
from pneumo_core.progress import Progress, silent
from pneumo_core.specs import DataSpec, SplitSpec
from search.home import Home
from studies.spec import SourceSpec

# The original project's shares; without a calibration role nothing can be certified, and nothing should be.
LEAKING_SPLIT = SplitSpec(protocol="per_image_random", validation=0.1, calibration=0.0, test=0.1)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A scanned, divided source whose arrays are made when a trial first needs them."""

    manifest: Manifest
    split: Split
    cache: Path
    progress: Progress = silent
    scanned: Scanned = field(default_factory=Scanned)
    _folders: dict[DataSpec, Path] = field(default_factory=dict)

    def arrays_for(self, data: DataSpec) -> Path:
        """Return the folder of arrays for `data`, checked once a launch."""
        if data not in self._folders:
            self._folders[data] = prepare(
                self.manifest,
                self.split,
                data,
                cache_dir=self.cache,
                on_progress=self.progress,
                scanned=self.scanned,
            )
            self.scanned.forget(data)
        return self._folders[data]

    def forget(self, data: DataSpec) -> None:
        """Have the arrays for `data` checked again, and rebuilt if needed, at their next use."""
        self._folders.pop(data, None)

    def mend(self, folder: Path) -> None:
        """Check the arrays in `folder` again, and rebuild them if needed."""
        for data in [data for data, known in self._folders.items() if known == folder]:
            self.forget(data)
            self.arrays_for(data)


def split_for(protocol: str | None, default: SplitSpec) -> SplitSpec:
    """Return the split of `protocol`, None for `default`; the leaking protocol has the published shares."""
    if protocol == LEAKING_SPLIT.protocol:
        return dataclasses.replace(LEAKING_SPLIT, seed=default.seed)
    return dataclasses.replace(default, protocol=protocol or default.protocol)  # type: ignore[arg-type]


def read_source(
    source: SourceSpec, home: Home, progress: Progress = silent, wanted: Collection[DataSpec] = ()
) -> Prepared:
    """Scan a source and give its images their roles; what the scan decodes gives rows of `wanted` arrays."""
    scanned = Scanned(wanted)
    manifest = read_manifest(source, home, progress, scanned)
    split = assign_roles(manifest, source.split)
    return Prepared(manifest=manifest, split=split, cache=home.cache, progress=progress, scanned=scanned)


def read_manifest(
    source: SourceSpec, home: Home, progress: Progress = silent, scanned: Scanned | None = None
) -> Manifest:
    """Scan a source."""
    if source.source is None:
        raise StudyError("this study names no images: give --data FOLDER (or a MedMNIST .npz, or phantom)")
    with storage_errors(home.path):
        home.make()
    return scan(source, cache_dir=home.cache, on_progress=progress, scanned=scanned)
