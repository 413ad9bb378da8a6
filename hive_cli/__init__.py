"""The `hive` command line: it talks to a running `hived` over its control socket."""
