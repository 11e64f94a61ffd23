"""Broker and Trigger YAML as Knative has it, read into frozen values: the same for every carrier.

Invariant: no I/O but the reading of the files; whatever carries events asks these values which to deliver, where, how.
"""
