"""What lies in the data of an inference event: its columns and rows, by every protocol; arrays of them are an extra."""
