"""The health judge: deterministic detection of executions in trouble."""
