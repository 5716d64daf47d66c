"""The problems on a language model: settings, and the rooms beside this one put together."""
