"""The control API, one module per noun."""
