"""Hits among images, and confidences, as Hypothesis draws them."""

from hypothesis import strategies as st

counts = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
confidences = st.sampled_from([0.5, 0.9, 0.95, 0.99])
