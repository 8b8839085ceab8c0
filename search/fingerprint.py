"""What makes two launches the same study, and what to say when they are not."""

import hashlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pneumo_core
from pneumo_core import codec
from studies.probing import Probes
from studies.spec import StudySpec

if TYPE_CHECKING:  # `pneumo status` does without
    from pneumo_core.data.manifest import Manifest
    from pneumo_core.data.split import Split

Fingerprint = dict[str, Any]


def of_study(spec: StudySpec, draws: Probes) -> Fingerprint:
    """Return the fingerprint of space, objective and seed.

    The parameters of a space and the trials that it returns count, not its code. So the parameters seen in seeded
    draws are compared one by one, and the drawn trials by their digest.
    """
    parameters = {name: str(p) for name, p in draws.parameters.items()}
    trials = codec.digest(list(draws.trials))
    return {
        "space": {**dict(sorted(parameters.items())), "(drawn trials)": trials},
        "objective": codec.to_json(spec.objective),
        "study": {
            "seed": spec.seed,
            **({} if spec.folds is None else {"folds": spec.folds}),
            **({} if spec.fidelity is None else {"fidelity": codec.to_json(spec.fidelity)}),
        },
    }


def of_data(manifest: "Manifest", split: "Split") -> Fingerprint:
    """Return the fingerprint of images, classes and roles; it doesn't depend on where the folder lies."""
    return {
        "data": {
            "images": len(manifest.records),
            "digest": manifest.digest,
            "negative": manifest.negative,
            "positive": manifest.positive,
        },
        "split": {**codec.to_json(split.spec), "digest": split.digest},
    }


def of_code() -> Fingerprint:
    """Return the fingerprint of the program that trains, and of the frameworks that it trains with."""
    digest = hashlib.blake2b(digest_size=8)
    folder = Path(pneumo_core.__path__[0])
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    versions = {name: _version(name) for name in ("pneumo-search", "keras", "tensorflow", "jax", "numpy")}
    return {"code": versions | {"pneumo_core": digest.hexdigest()}}


def differences(stored: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Return one line for each entry that differs, section by section; none when the study is the same."""
    lines = []
    for section in {**stored, **given}:
        old, new = stored.get(section, {}), given.get(section, {})
        for key in {**old, **new}:
            if old.get(key) != new.get(key):
                lines.append(f"{section}: {key}: stored {_say(old.get(key))}, now {_say(new.get(key))}")
    return lines


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _say(value: Any) -> str:
    return "absent" if value is None else str(value)
