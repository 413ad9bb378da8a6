"""Looking for what is wrong with a daemon, its state and its machine, and mending what is safe to mend."""
