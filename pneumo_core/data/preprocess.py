"""Images to uint8 arrays in a cache of memory-mapped files: one folder a combination of manifest, split and `DataSpec`.

    x_<role>.npy (n, h, w, c) · y_<role>.npy (n,) · images_<role>.json · meta.json with shapes, sizes and digests

Rows are in the order of the images' paths. `prepare` builds the folder once and checks every byte of one that is
there. What an earlier folder has of the same files it takes from there, so that added files cost only themselves.
`open_fit_arrays`, which each trial calls, checks headers and sizes only.
"""

import contextlib
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pneumo_core import codec, files
from pneumo_core.data import dataset
from pneumo_core.data.manifest import ImageRecord, Manifest
from pneumo_core.data.rows import PREPROCESSING_VERSION, decoding, to_size
from pneumo_core.data.scanned import Scanned
from pneumo_core.data.split import USED_ROLES, Role, Split
from pneumo_core.errors import DataError
from pneumo_core.parallel import map_in_order
from pneumo_core.progress import Progress, silent
from pneumo_core.specs import DataSpec

ARRAYS = "arrays"  # folder of the cache
_SPARE_BYTES = 16 * 2**20
_EXPORTED = re.compile(r"(x|y|groups)_(train|validation|calibration|test)(_flat)?\.npy")
_FILES = ("x_{}.npy", "y_{}.npy", "images_{}.json")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where arrays came from, for who keeps what is computed from them."""

    cache_dir: Path
    digest: str  # of their content


@dataclass(frozen=True, kw_only=True)
class FitArrays:
    """What a trial may see: train, and validation, which decides when to stop.

    x (n, h, w, c) uint8, or features (n, ...) float32 in their place; y (n,) uint8 with 1 for the positive class;
    groups (n,), patients as text.
    """

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    groups_train: NDArray[np.str_]
    x_validation: NDArray[Any]
    y_validation: NDArray[Any]
    groups_validation: NDArray[np.str_]
    x_shifted: NDArray[Any] | None = None  # validation, each image under one shift; None: judged as it is only
    origin: Origin | None = None  # None: in memory only, nothing computed from them is kept


@dataclass(frozen=True, kw_only=True)
class RoleArrays:
    """One role, whole: x (n, h, w, c) uint8, y (n,) uint8, and where each row came from."""

    x: NDArray[np.uint8]
    y: NDArray[np.uint8]
    paths: tuple[str, ...]
    groups: tuple[str, ...]  # `Split.groups`: the unit of a patient-level figure
    kinds: tuple[str, ...]


def prepare(
    manifest: Manifest,
    split: Split,
    data: DataSpec,
    *,
    cache_dir: Path,
    on_progress: Progress | None = None,
    scanned: Scanned | None = None,
) -> Path:
    """Return the folder of arrays, built where it isn't there whole.

    Images of which `scanned` has rows are not decoded again. Raises `DataError` for one that changed since the scan,
    `StorageError` where the arrays can't be written.
    """
    if len(split.roles) != len(manifest.records):
        raise ValueError(
            f"`split` must be of this manifest: it has {len(split.roles)} roles for {len(manifest.records)} images"
        )
    key = codec.digest([PREPROCESSING_VERSION, manifest.digest, split.digest, data])
    made = {} if scanned is None else scanned.rows(data)
    builder = _Builder(manifest=manifest, split=split, data=data, on_progress=on_progress or silent, made=made)
    return files.build_once(Path(cache_dir) / ARRAYS / key, builder.build, is_whole)


def open_fit_arrays(folder: Path) -> FitArrays:
    """Return memory maps of the train and validation arrays, read-only; raises `DataError` where they aren't whole."""
    x_train, y_train = _open_arrays(Path(folder), "train")
    x_validation, y_validation = _open_arrays(Path(folder), "validation")
    return FitArrays(
        x_train=x_train,
        y_train=y_train,
        groups_train=np.array(_images(Path(folder), "train")["groups"]),
        x_validation=x_validation,
        y_validation=y_validation,
        groups_validation=np.array(_images(Path(folder), "validation")["groups"]),
        origin=origin_of(folder),
    )


def origin_of(folder: Path) -> Origin:
    """Return where the arrays in `folder` came from; raises `DataError` where they aren't whole."""
    return Origin(cache_dir=_cache_dir(Path(folder)), digest=codec.digest(_meta(Path(folder))))


def open_role(folder: Path, role: Role) -> RoleArrays:
    """Return memory maps of one role, with paths, groups and kinds; for certifying and testing, not for trials."""
    x, y = _open_arrays(Path(folder), role)
    images = _images(Path(folder), role)
    return RoleArrays(x=x, y=y, **{name: tuple(images[name]) for name in ("paths", "groups", "kinds")})


def _images(folder: Path, role: Role) -> dict[str, list[str]]:
    """Return paths, groups and kinds of a role, each in the order of its rows."""
    file = folder / f"images_{role}.json"
    try:
        found: dict[str, list[str]] = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:  # damaged, or another process makes the folder anew
        raise DataError(f"`{file}` is damaged ({error}); prepare the data again") from error
    return found


def write_npz(folder: Path, file: Path) -> Path:
    """Write every role of a prepared `folder` into one `.npz`; returns `file`.

    Arrays: `x_<role>` (n, h, w, c), `x_<role>_flat` (n, h·w·c), `y_<role>` (n,) and `groups_<role>` (n,), the patients
    as texts, "" where they aren't known. The file can be read as a source.
    Raises `StorageError` where something else is there.
    """
    files.check_free(Path(file), is_exported)
    arrays: dict[str, NDArray[Any]] = {}
    roles = {role: open_role(Path(folder), role) for role in _roles(_meta(Path(folder)))}
    unknown = {path for of_role in roles.values() for path in of_role.paths}  # what names a group without a patient
    for role, found in roles.items():
        groups = np.array(["" if group in unknown else group for group in found.groups], np.str_)
        flat = found.x.reshape(len(found.x), -1)
        arrays |= {f"x_{role}": found.x, f"x_{role}_flat": flat, f"y_{role}": found.y, f"groups_{role}": groups}

    def write(path: Path) -> None:
        with path.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)

    files.write_file(Path(file), write)
    return Path(file)


def is_exported(file: Path) -> bool:
    """Return whether `file` is one that `write_npz` wrote: it has no other arrays."""
    try:
        with zipfile.ZipFile(file) as archive:
            return all(map(_EXPORTED.fullmatch, archive.namelist()))
    except (OSError, zipfile.BadZipFile):
        return False


def is_whole(folder: Path) -> bool:
    """Return whether a prepared folder is there with every byte as it was written."""
    try:
        written = _meta(folder)["files"]
        return all(files.digest(folder / name) == facts["digest"] for name, facts in written.items())
    except (DataError, OSError):
        return False


@dataclass(frozen=True, kw_only=True)
class _Builder:
    """Writes one folder of arrays."""

    manifest: Manifest
    split: Split
    data: DataSpec
    on_progress: Progress
    made: Mapping[str, NDArray[np.uint8]]  # rows of images, by the digest of their files

    def build(self, folder: Path) -> None:
        roles = [role for role in USED_ROLES if role in self.split.roles]
        rows = {role: self._rows(role) for role in roles}
        n_images = sum(map(len, rows.values()))
        files.check_room(folder, n_images * int(np.prod(self.data.shape)) + _SPARE_BYTES)
        pixels = self._pixels([index for role in roles for index in rows[role]], self._earlier(folder.parent))
        written: dict[str, Any] = {}
        for role in roles:
            written |= self._write_role(folder, role, rows[role], pixels)
        meta = {
            "version": PREPROCESSING_VERSION,
            "manifest": self.manifest.digest,
            "split": self.split.digest,
            "data": codec.to_json(self.data),
            "classes": [self.manifest.negative, self.manifest.positive],
            "files": written,
        }
        text = json.dumps({**meta, "digest": codec.digest(meta)}, indent=1)
        (folder / "meta.json").write_text(text, "utf-8")

    def _rows(self, role: Role) -> list[int]:
        return sorted(self.split.indices(role), key=lambda index: self.manifest.records[index].path)

    def _earlier(self, folders: Path) -> Mapping[str, NDArray[np.uint8]]:
        """Return the rows, by the digest of their files, of that folder which has most of them."""
        wanted, best, place = (
            {record.digest for record in self.manifest.records},
            dict[str, tuple[Role, int]](),
            folders,
        )
        for folder in sorted(folders.iterdir()):
            with contextlib.suppress(DataError, OSError, ValueError, KeyError):  # half a folder, or another version's
                if len(found := _digests(folder, self.data, wanted)) > len(best):
                    best, place = found, folder
        if not best or not is_whole(place):
            return {}
        x = {role: _open_arrays(place, role)[0] for role in {role for role, _ in best.values()}}
        return {digest: x[role][row] for digest, (role, row) in best.items()}

    def _pixels(self, order: Sequence[int], earlier: Mapping[str, NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        read, data = dataset.reader(self.manifest), self.data

        def one(record: ImageRecord) -> NDArray[np.uint8]:
            for known in (self.made, earlier):
                if record.digest in known:
                    return known[record.digest]
            return to_size(read(record, *decoding(data)), data)

        records = [self.manifest.records[index] for index in order]
        return map_in_order(one, records, what="preparing images", on_progress=self.on_progress)

    def _write_role(
        self, folder: Path, role: Role, rows: list[int], pixels: Iterator[NDArray[np.uint8]]
    ) -> dict[str, Any]:
        records = [self.manifest.records[index] for index in rows]
        labels = np.array([record.label for record in records], np.uint8)
        images = {
            "paths": [record.path for record in records],
            "groups": [self.split.groups[index] for index in rows],
            "kinds": [record.kind for record in records],
            "digests": [record.digest for record in records],
        }
        x_file, y_file, images_file = (folder / name.format(role) for name in _FILES)
        x_shape = (len(rows), *self.data.shape)
        return {
            x_file.name: _write_npy(x_file, x_shape, (next(pixels).tobytes() for _ in rows)),
            y_file.name: _write_npy(y_file, labels.shape, [labels.tobytes()]),
            images_file.name: _write(images_file, lambda stream: stream.write(json.dumps(images).encode())),
        }


def _digests(folder: Path, data: DataSpec, wanted: set[str]) -> dict[str, tuple[Role, int]]:
    """Return where `folder`, of arrays made as `data` says, has the images whose files have the `wanted` digests."""
    meta = _meta(folder)
    if meta["data"] != codec.to_json(data):
        return {}
    files = {role: _images(folder, role) for role in _roles(meta)}
    rows = {digest: (role, row) for role, file in files.items() for row, digest in enumerate(file["digests"])}
    return {digest: rows[digest] for digest in wanted & rows.keys()}


def _write_npy(file: Path, shape: tuple[int, ...], chunks: Any) -> dict[str, Any]:
    """Write a uint8 `.npy` piece by piece: a write to a full disk fails, a store to a mapped file would kill us."""

    def write(stream: IO[bytes]) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for chunk in chunks:
            stream.write(chunk)

    return {**_write(file, write), "shape": list(shape)}


def _write(file: Path, write: Callable[[IO[bytes]], object]) -> dict[str, Any]:
    with file.open("wb") as stream:
        write(stream)
    return {"n_bytes": file.stat().st_size, "digest": files.digest(file)}


def _cache_dir(folder: Path) -> Path:
    """Return the cache that `folder` lies in; a copy of it elsewhere must not spill into the folder above its own."""
    return folder.parent.parent if folder.parent.name == ARRAYS else folder.parent


def _meta(folder: Path) -> dict[str, Any]:
    try:
        meta = json.loads((folder / "meta.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"`{folder}` is not a folder of prepared arrays; prepare the data again") from error
    if not isinstance(meta, dict) or meta.pop("digest", None) != codec.digest(meta):
        raise DataError(f"`{folder / 'meta.json'}` is damaged; prepare the data again")
    if meta["version"] != PREPROCESSING_VERSION:
        raise DataError(f"`{folder}` was made by another version of this program; prepare the data again")
    return meta


def _roles(meta: dict[str, Any]) -> list[Role]:
    return [role for role in USED_ROLES if f"x_{role}.npy" in meta["files"]]


def _open_arrays(folder: Path, role: Role) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    files = _meta(folder)["files"]
    if f"x_{role}.npy" not in files:
        raise DataError(f"`{folder}` has no arrays of the role `{role}`")
    return _open_npy(folder / f"x_{role}.npy", files), _open_npy(folder / f"y_{role}.npy", files)


def _open_npy(file: Path, files: dict[str, Any]) -> NDArray[np.uint8]:
    facts = files[file.name]
    try:
        array: NDArray[np.uint8] = np.load(file, mmap_mode="r", allow_pickle=False)
        whole = array.shape == tuple(facts["shape"]) and array.dtype == np.uint8
        if not whole or file.stat().st_size != facts["n_bytes"]:
            raise ValueError("another shape, type or size than when it was written")
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"`{file}` is damaged ({error}); prepare the data again") from error
    return array
