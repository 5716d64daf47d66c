"""Any Python function as a problem."""
