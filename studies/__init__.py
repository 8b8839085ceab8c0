"""What can be launched by name: one short file a study, each exposing `STUDY`."""
