"""What a study prefers among trials that validation cannot rank."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from types import MappingProxyType

from pneumo_core.errors import nearest
from pneumo_core.specs import AugmentSpec, BackboneSpec, TrialSpec
from spaces.training import augmented

_FULL = augmented(geometric=1.0, photometric=1.0, sharpness=1.0)


def _augmentation(spec: TrialSpec) -> float:
    """Return how strong the augmentation is: the mean over its kinds of the share of what `augmented` gives at 1."""
    shares = [_share(spec.train.augment, name, getattr(_FULL, name)) for name in _names(_FULL)]
    return sum(shares) / len(shares)


def _share(augment: AugmentSpec, name: str, full: float) -> float:
    return min(1.0, float(getattr(augment, name)) / full)


def _names(augment: AugmentSpec) -> list[str]:
    return [field.name for field in fields(augment) if getattr(augment, field.name)]


PREFERENCES: Mapping[str, Callable[[TrialSpec], float]] = MappingProxyType(
    {
        "pretrained": lambda spec: float(isinstance(spec.model, BackboneSpec)),  # before networks from scratch
        "larger_images": lambda spec: float(spec.data.image_size_px),
        "more_augmentation": _augmentation,
        "more_epochs": lambda spec: float(spec.train.epochs),
    }
)
"""By name, the number of a trial that is better when larger. `docs/objective.md` says why these."""
STANDARD = ("pretrained", "larger_images", "more_augmentation")


def check(names: Iterable[str]) -> None:
    """Raise `ValueError` for a name that no preference has."""
    for name in names:
        if name not in PREFERENCES:
            raise ValueError(f"`prefer` must be names of preferences, got {name!r}{nearest(str(name), PREFERENCES)}")


def of(spec: TrialSpec, names: Iterable[str]) -> list[float]:
    """Return the numbers of `spec` under `names`, the first of which decides first."""
    return [PREFERENCES[name](spec) for name in names]
