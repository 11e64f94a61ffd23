"""CESQL 1.0, the CloudEvents expression language: lexer, parser, and a compiler to closures.

Source: cloudevents/spec, cesql/spec.md.
Invariant: pure. Every text is an expression or refused with its place; every expression ends, with a value, always.
"""
