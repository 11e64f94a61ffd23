"""One reader a protocol: from a body, or a JSON document, to a payload. `payloads.decode` chooses which."""
