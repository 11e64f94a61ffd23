"""The demo: a real model server, traffic in named phases, faults, and a summary of what was seen."""
