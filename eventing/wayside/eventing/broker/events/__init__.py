"""`wayside events`, and what answers it on the broker's admin port: list, tail, replay, redeliver.

Invariant: nothing here is on the way of an event that arrives or is delivered; what is asked for by hand is done in
bounded steps, between which the broker goes on.
"""
