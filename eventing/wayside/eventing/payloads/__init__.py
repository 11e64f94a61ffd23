"""What lies in the data of an inference event: the payload protocols, and the arrays made from them (an extra)."""
