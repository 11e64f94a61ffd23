"""Tells a full device from every other failure of a numerical library.

Invariant: nothing of any library is imported to know its errors; each says it in words, and few in a class of its own.
"""

_WORDS = ("out of memory", "failed to allocate", "bad alloc", "bad_alloc", "resource exhausted", "resource_exhausted")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that there is no memory left, of the machine or of its GPU."""
    text = str(error).lower()
    named = type(error).__name__ in ("ResourceExhaustedError", "OutOfMemoryError")
    return isinstance(error, MemoryError) or named or any(words in text for words in _WORDS)
