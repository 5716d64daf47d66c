"""A goal of the command ``prune`` a file: how its number is read, and the experiment that reaches it."""
