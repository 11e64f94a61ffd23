"""The filters of a Trigger: every dialect of Knative Eventing's subscriptions API, one predicate a file.

Invariant: pure and compiled once. A filter never passes what it was not asked to pass; an error in it is no pass.
"""
