"""Scores: the importance of each weight.

A score is a function of a layer's weight ``(out, in)``, float32, and of the statistics that its keyword parameters name
(:mod:`evoprune.problems.language_model.calibration`). It returns a score for each weight ``(out, in)``; the lowest are
removed first.
"""

SCORES = "evoprune.scores"  # the group of entry points
