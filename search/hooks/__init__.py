"""Programs that follow a search: what a study file may name, and those that come along."""
