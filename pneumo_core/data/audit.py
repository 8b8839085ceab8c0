"""What a source looks like before anything is learnt from it: counts, bad files, duplicates, leaks, shortcuts.

The shortcut check asks how well a model that never sees a pixel would do. In the full-size originals of the Kaggle
archive bytes per pixel predict the class almost completely: what such a model uses, a network may learn.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pneumo_core.data import altered
from pneumo_core.data.image_facts import Looked
from pneumo_core.data.manifest import ImageRecord, LeftOut, Manifest, Rejected
from pneumo_core.data.split import RoleCount, Split, grouped, patient_notes, role_counts
from pneumo_core.parallel import one_thread
from pneumo_core.text import inline

_FOLDS = 5
_MOST_NOTES = 10
_SHORTCUT_AUC = 0.7  # a header that predicts the class better than this leads to a warning


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """How many images repeat another: exactly (same bytes), or by look (see `duplicates`), copies not counted again."""

    exact_sets: int
    exact_images: int  # in those sets
    near_sets: int  # sets of different bytes that look the same
    near_images: int
    across_patients: int  # sets, of either sort, that join several patients
    across_classes: int  # sets, of either sort, with both labels: one of them is wrong
    divided: int  # images of sets too large to stay whole: copies among them may be in several roles


@dataclass(frozen=True, kw_only=True)
class Leak:
    """What the official folders share: groups of patients and look-alikes on both sides of train/val and test."""

    groups: int
    train_images: int
    test_images: int


@dataclass(frozen=True, kw_only=True)
class Shortcuts:
    """Cross-validated AUC, by patient group, of predicting the class without pixels; 0.5 is chance.

    `single` is each header fact alone, in its better direction; the other two use all of them.
    """

    single: Mapping[str, float]
    logistic: float
    boosted: float

    @property
    def worst(self) -> float:
        return max(self.logistic, self.boosted, *self.single.values())


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A pair of an image and its mirrored, rotated or inverted copy."""

    first: str  # path
    second: str
    how: str
    divided: bool  # whether they are in two roles


@dataclass(frozen=True, kw_only=True)
class OddImage:
    """An image that is blank, inverted or lies otherwise than the others."""

    path: str
    how: str


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What `audit` found."""

    source: str
    classes: Mapping[str, int]
    kinds: Mapping[str, int]
    official_roles: Mapping[str, int]
    sizes_px: Mapping[str, int]  # the most frequent "width × height"
    modes: Mapping[str, int]
    n_groups: int
    rejected: tuple[Rejected, ...]
    reasons: Mapping[str, int]
    duplicates: Duplicates
    leak: Leak
    roles: tuple[RoleCount, ...]
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    image_facts: Mapping[
        str, float
    ]  # AUC, in its better direction, of each fact of the pixels; none were looked at: {}
    copies: tuple[Copy, ...]
    odd: tuple[OddImage, ...]
    shortcuts: Shortcuts | None  # None: too few groups to cross-validate

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings, one sentence each."""
        found = [
            (len(self.rejected), f"{len(self.rejected)} files can't be used"),
            (
                self.duplicates.across_classes,
                f"{self.duplicates.across_classes} sets of same-looking images are in both classes",
            ),
            (self.leak.groups, f"{self.leak.groups} patients or copies are both in the official test and outside it"),
            (
                self.shortcuts is not None and self.shortcuts.worst >= _SHORTCUT_AUC,
                f"file headers alone predict the class (AUC {self.shortcuts.worst if self.shortcuts else 0:.3f}): "
                "a network may learn the source of a file instead of the disease",
            ),
        ]
        return tuple(text for holds, text in (*found, *self._of_pixels()) if holds)

    def _of_pixels(self) -> list[tuple[object, str]]:
        n_divided = sum(pair.divided for pair in self.copies)
        told = [
            (
                value >= _SHORTCUT_AUC,
                f"{name} alone predicts the class (AUC {value:.3f}): where it comes from the place of the exposure and "
                "not from the disease, a network learns the place",
            )
            for name, value in sorted(self.image_facts.items(), key=lambda item: -item[1])
        ]
        return [
            (self.odd, f"{len(self.odd)} images are blank, inverted or lie otherwise than the others"),
            (
                self.copies,
                f"{len(self.copies)} pairs are mirrored, rotated or inverted copies"
                + (f", {n_divided} of them divided between roles: these leak" if n_divided else ""),
            ),
            *told,
        ]


def audit(
    manifest: Manifest,
    split: Split | None = None,
    looked: Looked | None = None,
    *,
    seed: int = 0,
) -> Audit:
    """Return what there is to know about a scanned source.

    Also about its roles where `split` is given, and about the pixels where they were `looked` at.
    """
    records = manifest.records
    groups = grouped(records)
    return Audit(
        source=manifest.source,
        classes={manifest.class_name(label): manifest.n_of_class(label) for label in (0, 1)},
        kinds=_counted(record.kind for record in records),
        official_roles=_counted(record.official_role or "none" for record in records),
        sizes_px=dict(Counter(f"{record.width_px} × {record.height_px}" for record in records).most_common(5)),
        modes=_counted(record.mode for record in records),
        n_groups=len(set(groups)),
        rejected=manifest.rejected,
        reasons=_counted(rejected.reason for rejected in manifest.rejected),
        duplicates=count_duplicates(records, manifest.n_divided_looks),
        leak=count_leak(records, groups),
        roles=role_counts(manifest, split) if split else (),
        notes=(*manifest.notes, *(split.notes if split else patient_notes(manifest)), *file_notes(records)),
        left_out=manifest.left_out,
        image_facts=_aucs(records, looked) if looked else {},
        copies=_copies(manifest, split),
        odd=_odd(records, looked) if looked else (),
        shortcuts=find_shortcuts(records, groups, seed=seed),
    )


def file_notes(records: Sequence[ImageRecord]) -> tuple[str, ...]:
    """Return what could not be followed in files that are read nevertheless, each with how many files and one of them.

    The numbers of a note may be each file's own, so no more than ten are listed.
    """
    found = Counter(record.note for record in records if record.note)
    first = {record.note: record.path for record in reversed(records) if record.note}
    told = tuple(f"in {count} files ({inline(first[note])}): {note}" for note, count in found.most_common(_MOST_NOTES))
    rest = len(found) - len(told)
    return (*told, f"and {rest} other notes on single files") if rest else told


def count_duplicates(records: Sequence[ImageRecord], n_divided: int = 0) -> Duplicates:
    """Return the counts of exact and near duplicates."""
    exact = _sets(records, [record.digest for record in records])
    alike = _sets(records, [record.look for record in records])
    near = [members for members in alike if len({record.digest for record in members}) > 1]
    return Duplicates(
        exact_sets=len(exact),
        exact_images=sum(map(len, exact)),
        near_sets=len(near),
        near_images=sum(map(len, near)),
        across_patients=sum(len({record.group for record in members}) > 1 for members in alike),
        across_classes=sum(len({record.label for record in members}) > 1 for members in alike),
        divided=n_divided,
    )


def count_leak(records: Sequence[ImageRecord], groups: Sequence[str]) -> Leak:
    """Return what the official test folder shares with the rest; all zero where there is no such folder."""
    of_test = {group for record, group in zip(records, groups, strict=True) if record.official_role == "test"}
    of_rest = {group for record, group in zip(records, groups, strict=True) if record.official_role != "test"}
    shared = of_test & of_rest
    tested = [r.official_role == "test" for r, group in zip(records, groups, strict=True) if group in shared]
    return Leak(groups=len(shared), train_images=len(tested) - sum(tested), test_images=sum(tested))


def find_shortcuts(records: Sequence[ImageRecord], groups: Sequence[str], *, seed: int = 0) -> Shortcuts | None:
    """Return how well header facts predict the class, or None where a class has fewer groups than folds."""
    y = np.array([record.label for record in records])  # (n,)
    n_groups = [len({group for r, group in zip(records, groups, strict=True) if r.label == label}) for label in (0, 1)]
    if min(n_groups) < _FOLDS:
        return None
    names, x = header_features(records)  # x (n, f)
    logistic, boosted = _cross_validated(x, y, groups, seed)
    single = {name: _auc_either_way(y, x[:, column]) for column, name in enumerate(names)}
    return Shortcuts(single=single, logistic=logistic, boosted=boosted)


def header_features(records: Sequence[ImageRecord]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Return the names (f) and values (n, f) of what is in a header; `mode_…` is 1 where the image has that mode."""
    facts: dict[str, list[float]] = {
        "width_px": [float(record.width_px) for record in records],
        "height_px": [float(record.height_px) for record in records],
        "aspect": [record.width_px / record.height_px for record in records],
        "bytes_per_pixel": [record.n_bytes / (record.width_px * record.height_px) for record in records],
    }
    for mode in sorted({record.mode for record in records}):
        facts[f"mode_{mode}"] = [float(record.mode == mode) for record in records]
    return tuple(facts), np.array(list(facts.values())).T


def _cross_validated(x: NDArray[Any], y: NDArray[Any], groups: Sequence[str], seed: int) -> tuple[float, float]:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    models = (
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=8, random_state=seed),
    )
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    options = {"groups": list(groups), "cv": folds, "method": "predict_proba"}
    with one_thread():
        scores = [cross_val_predict(model, x, y, **options)[:, 1] for model in models]
    logistic, boosted = (float(roc_auc_score(y, score)) for score in scores)
    return logistic, boosted


def _auc_either_way(y: NDArray[Any], values: NDArray[np.float64]) -> float:
    from sklearn.metrics import roc_auc_score

    auc = float(roc_auc_score(y, values))
    return max(auc, 1 - auc)


def _aucs(records: Sequence[ImageRecord], looked: Looked) -> dict[str, float]:
    y = np.array([record.label for record in records])
    return {name: _auc_either_way(y, values) for name, values in looked.facts.items()}


def _copies(manifest: Manifest, split: Split | None) -> tuple[Copy, ...]:
    roles = dict(zip((r.path for r in manifest.records), split.roles if split else repeat(""), strict=False))
    return tuple(
        Copy(first=pair.first, second=pair.second, how=pair.how, divided=roles[pair.first] != roles[pair.second])
        for pair in manifest.copies
    )


def _odd(records: Sequence[ImageRecord], looked: Looked) -> tuple[OddImage, ...]:
    return tuple(OddImage(path=records[odd.row].path, how=odd.how) for odd in altered.odd_ones(looked.thumbnails))


def _sets(records: Sequence[ImageRecord], names: Sequence[str]) -> list[list[ImageRecord]]:
    """Return the sets of two or more records that have the same name."""
    by_name: dict[str, list[ImageRecord]] = {}
    for record, name in zip(records, names, strict=True):
        by_name.setdefault(name, []).append(record)
    return [members for members in by_name.values() if len(members) > 1]


def _counted(values: Any) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))
