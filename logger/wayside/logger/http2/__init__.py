"""HTTP/2 without TLS before the model server: bytes are spliced, and what they say is read on the side."""
