import os

# Threads that wait for each other spin on the cores that other tests need. Set before any library reads it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("PNEUMO_WORKERS", "1")  # each trainer costs 5 CPU seconds, and what runs alone comes out the same
