import json


def test_the_schema_is_printed(evoprune):
    printed = json.loads(evoprune("schema").out)
    assert {"problem", "operators", "population"} <= set(printed["properties"])
