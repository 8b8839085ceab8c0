"""Where trials run: child processes of this machine, or a Ray cluster."""
