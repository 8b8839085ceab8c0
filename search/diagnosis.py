"""When trial after trial fails for one reason: counted, and what to do."""

from collections import Counter
from dataclasses import dataclass, field

from search import trials

UNBUILDABLE_FACTOR = 8  # points that can't be built take no time: so many times the limit end a search


@dataclass
class Failures:
    """Counts the trials that failed for good since the last success, until one reason reaches `limit`."""

    limit: int
    n: Counter[str] = field(default_factory=Counter)  # by reason
    diagnosis: str = ""  # why the search ends, once it must

    def add(self, reason: str, message: str) -> None:
        self.n[reason] += 1
        if self.n[reason] >= self.limit * (UNBUILDABLE_FACTOR if reason in trials.UNBUILDABLE else 1):
            self.diagnosis = of_failures(reason, self.n[reason], message)

    def clear(self) -> None:
        self.n.clear()


def of_failures(reason: str, n_failures: int, message: str) -> str:
    """Return what happened and what usually helps."""
    help_ = _REMEDIES.get(reason, "run `pneumo status` for the reasons of all failures")
    return f"{n_failures} trials failed with {reason!r} and none succeeded between them. The last: {message}\n{help_}"


_REMEDIES = {
    "bad_arrays": "The prepared arrays are damaged again and again: check the disk of the home folder.",
    "bad_spec": "The space draws trials that can't be built: narrow it.",
    "child_died": "Trainer processes die: look at logs/ in the home folder; try --device cpu or fewer --workers.",
    "disk_full": "The disk is full: free some of it, or continue with --home on another; what is finished is kept.",
    "exception": "The trainer has a bug or the installation is broken: logs/ in the home folder has the traceback.",
    "failed_trial": "The hypermodel raises FailedTrialError for one draw after another: narrow its ranges.",
    "hang": "Epochs take longer than --hang-timeout: raise it, or search smaller images and models.",
    "nan_loss": "Training diverges: lower the upper end of `learning_rate` in the space.",
    "nan_metrics": "Models give scores that are no numbers: lower the upper end of `learning_rate` in the space.",
    "out_of_memory": "Memory runs out even for one trial alone: search smaller batches, images or models.",
    "trial_timeout": "Trials take longer than --trial-timeout: raise it, or search fewer epochs.",
}
