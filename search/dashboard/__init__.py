"""optuna-dashboard over a study: read-only, with the project's own feasibility, best trial, notes and pictures."""
