"""Databases of studies: opening, locking, waiting out, signs of life, artifacts."""
