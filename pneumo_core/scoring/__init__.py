"""What scores are worth: metrics, operating points, intervals, certificates, baselines."""
