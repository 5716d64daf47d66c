"""The cut in width: removes channels of MLPs."""
