"""The page on which people see the whole loop: what its sources say, as one JSON document and plain static files.

Invariant: the page only reads. Nothing that it shows, and nobody who looks at it, changes what it watches.
"""
