"""Scores: the importance of each weight.

A score is a function of a layer's weight ``(out, in)``, float32, and of the statistics that its keyword parameters name
(see :mod:`problems.calibration`); only those are gathered. It returns the score of each weight ``(out, in)``: the
lowest are removed first.
"""

SCORES = "evoprune.scores"  # the group of entry points
