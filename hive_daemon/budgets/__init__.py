"""Budgets: what may be spent, by whom, within which time, and what happens at the limit. Pure."""
