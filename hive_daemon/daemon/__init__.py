"""The hived process: composition, signals, systemd."""
