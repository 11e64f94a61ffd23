"""The serving path over HTTP/1.1: clients' connections, exchanges, connections to the model server, probes."""
