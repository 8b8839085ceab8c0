"""Training: batches, augmentation, steps, schedules, checkpoints, folds, cached features."""
