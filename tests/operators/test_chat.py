"""Requests to an endpoint: what is sent, what is kept, and what is no answer."""

import pytest

from operators.chat import KEY, NoAnswer, ask

REQUEST = {"model": "m", "messages": [{"role": "user", "content": "?"}], "temperature": 0, "seed": 3}


def test_a_request_is_sent_as_it_is_and_only_once(endpoint):
    endpoint.answer = lambda _: f"answer {len(endpoint.requests)}"
    assert [ask(endpoint.url, REQUEST, 10.0) for _ in range(3)] == ["answer 1"] * 3
    assert endpoint.requests == [REQUEST | {"path": "/v1/chat/completions"}]
    assert ask(endpoint.url, REQUEST | {"seed": 4}, 10.0) == "answer 2"
    endpoint.close()
    assert ask(endpoint.url, REQUEST, 10.0) == "answer 1"


def test_the_key_is_that_of_the_environment(endpoint, monkeypatch):
    monkeypatch.delenv(KEY, raising=False)
    ask(endpoint.url, REQUEST, 10.0)
    monkeypatch.setenv(KEY, "secret")
    ask(endpoint.url, REQUEST | {"seed": 4}, 10.0)
    assert endpoint.keys == [None, "Bearer secret"]


def test_nothing_is_kept_where_no_cache_can_be_written(endpoint, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path / "file" / "folder"))
    endpoint.answer = lambda _: f"answer {len(endpoint.requests)}"
    assert [ask(endpoint.url, REQUEST, 10.0) for _ in range(2)] == ["answer 1", "answer 2"]


def test_a_damaged_answer_is_asked_for_again(endpoint, cache):
    endpoint.answer = lambda _: f"answer {len(endpoint.requests)}"
    ask(endpoint.url, REQUEST, 10.0)
    (kept,) = cache.glob("*.safetensors")
    kept.write_bytes(b"damaged")
    assert [ask(endpoint.url, REQUEST, 10.0) for _ in range(2)] == ["answer 2"] * 2


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"status": 500}, "status 500"),
        ({"status": 307, "location": "http://127.0.0.1:9/"}, "status 307"),
        ({"reply": b"<html>"}, "JSONDecodeError"),
        ({"reply": b'{"choices": []}'}, "IndexError"),
        ({"reply": b"[1]"}, "TypeError"),
        ({"reply": b"\xff\xfe\xfd"}, "Error"),
        ({"reply": b" " * 2**21}, "JSONDecodeError"),
    ],
)
def test_other_replies_are_no_answer_and_not_kept(endpoint, cache, said, message):
    vars(endpoint).update(said)
    with pytest.raises(NoAnswer, match=message):
        ask(endpoint.url, REQUEST, 10.0)
    assert not [*cache.glob("*.safetensors")]


def test_an_endpoint_that_is_silent_or_gone_gives_no_answer(endpoint):
    endpoint.silent = True
    with pytest.raises(NoAnswer, match="Timeout"):
        ask(endpoint.url, REQUEST, 0.05)
    endpoint.close()
    with pytest.raises(NoAnswer, match="ConnectionRefused"):
        ask(endpoint.url, REQUEST, 10.0)


@pytest.mark.parametrize("url", ["http://127.0.0.1:many/v1", "ftp://127.0.0.1/v1", "http://[/v1"])
def test_an_address_that_is_none_gives_no_answer(url):
    with pytest.raises(NoAnswer):
        ask(url, REQUEST, 10.0)
