"""The problem ``score_search``: a formula that scores weights, found by genetic programming."""
