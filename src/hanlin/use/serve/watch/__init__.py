"""What is told of a request: the log, the metrics, the spans."""
