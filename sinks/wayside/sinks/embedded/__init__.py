"""Records kept on one machine, in SQLite: the store, the sink that fills it, the reader that people look through."""
