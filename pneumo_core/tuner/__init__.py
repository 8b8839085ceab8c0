"""KerasTuner hypermodels: drawn in a process of its own, translated into networks of stock Keras layers."""
