"""An experiment: read and checked."""
