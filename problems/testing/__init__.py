"""Contract tests of the interfaces on language models, for the tests of plugin authors."""
