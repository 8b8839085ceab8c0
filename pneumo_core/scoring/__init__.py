"""Judging scores: metrics, operating points, intervals, certificates, baselines."""
