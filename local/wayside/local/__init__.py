"""The single-machine composition: the `wayside` command, the supervisor, the page and the demo."""
