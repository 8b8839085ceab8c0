"""The command `pneumo`."""
