"""The networks of a study's best trials, kept so that a bundle can be made of them without training again."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial

from search import records
from search.home import is_id

N_KEPT = 12  # enough to choose five of; an EfficientNet-Lite0 takes 14 MB
LIMIT_BYTES = 2 * 10**9  # of one study, whatever its networks take


@dataclass(frozen=True)
class KeptNetworks:
    """`folder` holds one `.keras` file for each kept trial, named by the digest of its spec."""

    folder: Path

    def file(self, spec_digest: str) -> Path:
        """Return where the network of a spec is, or is to be written. Raises `ValueError` for what is no digest."""
        if not is_id(spec_digest):
            raise ValueError(f"`spec_digest` must be 16 hexadecimal digits, got {spec_digest!r}")
        return self.folder / f"{spec_digest}.keras"

    def tidy(self, finished: Sequence[FrozenTrial]) -> None:
        """Remove the networks of all but the best feasible of `finished` trials, and what does not fit the limit."""
        if not self.folder.is_dir():
            return
        wanted = dict.fromkeys(filter(is_id, map(_digest, records.ranked(list(finished)))))
        taken = 0
        for number, digest in enumerate(wanted):
            with contextlib.suppress(OSError):
                taken += self.file(digest).stat().st_size
            if number >= N_KEPT or taken > LIMIT_BYTES:
                self.file(digest).unlink(missing_ok=True)
        known = set(map(_digest, finished))
        for file in self.folder.glob("*.keras"):
            if file.stem in known and file.stem not in wanted:
                file.unlink(missing_ok=True)


def _digest(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get("spec_digest", ""))
