"""Optuna studies over trials: storage, executors, the coordinator and the command line. Never loads Keras."""
