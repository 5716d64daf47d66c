"""Problems whose optimum is known, for comparing searches."""
