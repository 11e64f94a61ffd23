"""Where captured events go: the bounded queue, the spool on disk, and the sinks behind a log url."""
