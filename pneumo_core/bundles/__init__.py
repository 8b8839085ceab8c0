"""Bundles: written, read, evaluated, explained and exported."""
