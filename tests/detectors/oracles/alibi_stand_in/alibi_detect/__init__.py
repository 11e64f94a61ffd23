"""What Wayside's alibi worker imports, without TensorFlow: for tests of the worker as a process."""
