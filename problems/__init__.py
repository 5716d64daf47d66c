"""The problems that come with evoprune: plugins in folders, and experiments as YAML files."""
