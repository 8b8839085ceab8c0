"""What people see while a search runs: on a terminal, in a notebook, as lines, as TensorBoard logs."""
