"""What makes an execution begin: timers, events, webhooks, calls."""
