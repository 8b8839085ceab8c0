"""What is in a source of images, as data: one record an image, the rejected files, and a digest of it all."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pneumo_core import codec

OfficialRole = Literal["train", "val", "test"]


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """One readable image.

    `path` is relative to the source, with forward slashes (for a `.npz`: array name and row). `digest` names the
    file's bytes; `look` names the set of images that look the same, and is the image's own digest where it is alone.
    """

    path: str
    label: int  # 1: positive class
    group: str  # patient
    kind: str  # normal, bacteria, virus, or the folder or value that gave the label
    official_role: OfficialRole | None
    width_px: int
    height_px: int
    mode: str
    n_bytes: int
    digest: str
    look: str
    family: str = ""  # names the set of altered copies that it is one of, see `altered`
    note: str = ""  # which rules of the file could not be followed, and what was done instead

    @property
    def names_patient(self) -> bool:
        """Whether the patient is known; else the image counts as a patient of its own, named by its path."""
        return self.group != self.path


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A file that was found among the images and can't be used, and why."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Files, or rows of a table, that are not read as labelled images, and why."""

    n: int
    what: str  # files, rows
    reason: str
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = ", ".join(self.examples)
        return f"{self.n} {self.what} left out, {self.reason}: {shown}{', ...' if self.n > len(self.examples) else ''}"


@dataclass(frozen=True, kw_only=True)
class AlteredPair:
    """A pair of an image and its mirrored, rotated or inverted copy."""

    first: str  # path
    second: str
    how: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A scanned source. `records` and `rejected` are in the order of their paths."""

    source: str  # absolute path of the folder or `.npz`
    negative: str
    positive: str
    records: tuple[ImageRecord, ...]
    rejected: tuple[Rejected, ...] = ()
    n_divided_looks: int = 0  # images that look the same in sets too large to stay whole, see `duplicates`
    copies: tuple[AlteredPair, ...] = ()
    n_apart: int = 0  # images of altered copies in sets too large to share a role
    left_out: tuple[LeftOut, ...] = ()
    patients: str = ""  # how patients are known, "" where they aren't
    is_synthetic: bool = False  # drawn by this program
    notes: tuple[str, ...] = ()  # what else there is to know about how the source was read

    @cached_property
    def digest(self) -> str:
        """Digest of contents, labels, patients and relative paths; not of location, file order or rejected files."""
        facts = sorted(
            [r.path, r.label, r.digest, r.group, r.look, r.official_role or "", *([r.family] if r.family else [])]
            for r in self.records
        )
        return codec.digest([self.negative, self.positive, facts])

    def n_of_class(self, label: int) -> int:
        return sum(record.label == label for record in self.records)

    @cached_property
    def n_unknown_patients(self) -> int:
        """Return the number of images whose patient isn't known."""
        return sum(not record.names_patient for record in self.records)

    def class_name(self, label: int) -> str:
        return self.positive if label else self.negative
