"""The payload logger: a streaming proxy that captures on the side and never slows or fails inference."""
