"""Several transforms of one resident model as one, under one budget."""
