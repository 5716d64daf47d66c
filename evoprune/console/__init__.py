"""Progress and numbers as text for a person."""
