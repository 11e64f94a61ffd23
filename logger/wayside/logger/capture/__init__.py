"""What is captured of an inference, and the events made of it; no I/O, whoever carries the bytes."""
