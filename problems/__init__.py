"""The problems that come with evoprune: plugins in folders, and the YAML files a person runs."""
