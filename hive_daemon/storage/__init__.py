"""The store: ports, the SQLite implementation, and the readable mirror."""
