"""The problems on a language model: settings, parts and commands."""
