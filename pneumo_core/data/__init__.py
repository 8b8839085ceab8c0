"""Images and everything up to the arrays that networks read: sources, reading, patients, splits, caches."""
