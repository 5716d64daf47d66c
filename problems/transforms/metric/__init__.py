"""The cut in single weights, by a score that is searched too."""
