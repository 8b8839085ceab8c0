"""Images, splits, arrays, Keras models, training, metrics and operating points of one trial."""
