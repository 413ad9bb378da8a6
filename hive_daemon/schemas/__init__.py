"""The documented records as pydantic models: lenient towards files of other versions."""
