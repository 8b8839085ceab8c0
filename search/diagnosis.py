"""What to do when trial after trial fails for one reason."""


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
