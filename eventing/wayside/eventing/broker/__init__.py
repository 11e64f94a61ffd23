"""The embedded broker: Knative's Broker and Triggers on one machine, durable before it answers.

Invariant: an event that was answered 202 is on disk, and stays there until each Trigger that it matched has delivered
it or holds it as a dead letter. For more than one machine there is Knative itself; this broker reads the same YAML.
"""
