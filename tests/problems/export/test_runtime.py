"""What is said of speed and memory; ``test_write.py`` has them measured."""

from problems.export.runtime import lines


def test_the_lines_compare_with_the_dense_model():
    pair = lambda dense, evolved: {"dense": dense, "evolved": evolved}  # noqa: E731
    found = {"prefill": pair(1000.0, 1500.0), "decode": pair(40.0, 60.0), "peak_bytes": pair(500e6, 400e6)}
    found |= {"file_bytes": pair(0, 300e6), "load_seconds": pair(1.234, 0.617)}
    assert lines(found) == [  # files that are not on this machine have no bytes
        "loading: dense 1.23 s, evolved 0.617 (0.50x)",
        "prefill: dense 1,000 tokens/s, evolved 1,500 (1.50x)",
        "decode: dense 40 tokens/s, evolved 60 (1.50x)",
        "peak memory: dense 500 MB, evolved 400 (0.80x)",
    ]
