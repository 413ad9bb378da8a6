"""The TCP listener: webhooks and probes."""
