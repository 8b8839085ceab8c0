"""Keras networks from specs, pretrained backbones and their weights."""
