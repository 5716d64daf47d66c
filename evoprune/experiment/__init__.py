"""An experiment: read, checked, and made into a DEAP toolbox."""
