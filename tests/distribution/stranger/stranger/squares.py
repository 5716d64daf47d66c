from evoprune.problems.language_model.scores import by_row


@by_row
def squares(weight):
    """Squared weights, compared within output rows."""
    return weight.square()
