"""Why things are as they are, in plain words: from rows and events to one chain of causes."""
