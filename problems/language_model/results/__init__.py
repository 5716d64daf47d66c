"""Results of a run: scores on unseen text, comparisons, the verdict, labels and figures."""
