"""Events and how they travel: the one event type, its codecs, the vocabulary of inference, and the embedded carrier.

Invariant: modules here import nothing of the services; the core modules need the standard library alone.
"""
