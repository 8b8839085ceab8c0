"""Receivers of a search's events: those that a study file may name, and those of this package."""
