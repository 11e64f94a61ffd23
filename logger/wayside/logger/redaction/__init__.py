"""What must not be seen is taken out of events, and bodies are compressed, in a second process beside the serving path.

Invariant: where there are rules, no event leaves that they were not applied to. What they cannot read leaves without
its data.
"""
