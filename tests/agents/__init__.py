"""Agent folders, whole ones and broken ones, in the style of the older system."""
