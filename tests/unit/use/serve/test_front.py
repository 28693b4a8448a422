"""What stands in front of the routes, in this process: keys, limits, CORS, log, metrics, spans."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from subprocess import run

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client.parser import text_string_to_metric_families
from serving import HOLDING, Script, scripted

import hanlin
from hanlin.core.run.config import build, parse_overrides
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.use.serve.access.body import depth_exceeds
from hanlin.use.serve.access.keys import KeyLimits, add_key
from hanlin.use.serve.app import create_app
from hanlin.use.serve.config import Serve
from hanlin.use.serve.models import Models, served_model
from hanlin.use.serve.watch.metrics import Metrics
from hanlin.use.serve.watch.recorder import Live
from hanlin.use.serve.watch.spans import Spans

CHAT = "/v1/chat/completions"
BODY = {"model": "tiny", "messages": [{"role": "user", "content": "人民有無集會之自由？"}]}


class Site:
    """Requests to one application, which ends with the block."""

    def __init__(self, tokenizer: Tokenizer, folder: Path, script: Script | None = None, **options: object):
        config = Serve(**{"engine": {"share_prefixes": False}, **options})
        self.models = Models([served_model(scripted(tokenizer, script or Script(), folder), "tiny", config)])
        self.app = create_app(self.models, config)
        self.front = self.app.state.front

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.models.close()
        self.front.close()

    def ask(self, method: str, path: str, key: str = "", peer: str = "127.0.0.1", **fields: object) -> httpx.Response:
        headers = {**({"authorization": f"Bearer {key}".encode()} if key else {}), **fields.pop("headers", {})}

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(peer, 4711))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.request(method, path, headers=headers, **fields)

        return asyncio.run(send())

    def chat(self, key: str = "", headers: dict[str, str] | None = None, **more: object) -> httpx.Response:
        return self.ask("POST", CHAT, key, json={**BODY, **more}, headers=headers or {})


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def code_of(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    return response.json()["error"]["code"]


def test_who_has_no_key_learns_nothing(tiny_tokenizer: Tokenizer, tmp_path: Path, keys: Path):
    text = add_key(keys, "web", KeyLimits())
    with Site(tiny_tokenizer, tmp_path, keys=str(keys)) as site:
        assert site.chat(text).json()["choices"][0]["message"]["content"] == HOLDING
        wrong = [site.chat(given) for given in (text[:-1] + "x", "hanlin-00000000-" + "0" * 64, "secret", text + "é")]
        assert {code_of(response, 401) for response in wrong} == {"invalid_api_key"}
        assert len({response.json()["error"]["message"] for response in wrong}) == 1
        assert all(response.headers["www-authenticate"] == "Bearer" for response in wrong)
        assert site.ask("GET", "/", peer="192.0.2.7").status_code == 200
        assert site.ask("GET", "/health", peer="192.0.2.7").status_code == 200
        for path in ("/v1/models", "/openapi.json", "/nothing", "/v1"):
            assert code_of(site.ask("GET", path), 401) == "invalid_api_key"


def test_the_token_and_keys_may_stand_side_by_side(tiny_tokenizer: Tokenizer, tmp_path: Path, keys: Path):
    text = add_key(keys, "web", KeyLimits())
    with Site(tiny_tokenizer, tmp_path, keys=str(keys), token="secret") as site:
        assert [site.ask("GET", "/v1/models", key).status_code for key in (text, "secret", "other")] == [200, 200, 401]


def test_a_key_for_other_models_is_403(tiny_tokenizer: Tokenizer, tmp_path: Path, keys: Path):
    text = add_key(keys, "web", KeyLimits(models=("law",)))
    with Site(tiny_tokenizer, tmp_path, keys=str(keys)) as site:
        assert code_of(site.chat(text), 403) == "model_not_allowed"
        assert site.ask("GET", "/v1/models", text).json()["data"] == []
        assert code_of(site.ask("GET", "/v1/models/tiny", text), 403) == "model_not_allowed"
        for path, body in (("/tokenize", {"prompt": "山"}), ("/detokenize", {"tokens": [300]})):
            assert code_of(site.ask("POST", path, text, json=body), 403) == "model_not_allowed"


def test_limits_are_told_and_kept(tiny_tokenizer: Tokenizer, tmp_path: Path, keys: Path):
    text = add_key(keys, "web", KeyLimits(requests_per_minute=2, tokens_per_minute=2000, streams=1))
    with Site(tiny_tokenizer, tmp_path, keys=str(keys)) as site:
        first = site.chat(text, max_tokens=8)
        used = first.json()["usage"]["total_tokens"]
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        site.chat(text, max_tokens=8)
        refused = site.chat(text, max_tokens=8)
        assert code_of(refused, 429) == "rate_limit_exceeded"
        assert 0 < int(refused.headers["retry-after"]) <= 60
        assert refused.headers["x-ratelimit-remaining-tokens"] == str(2000 - 2 * used)
        assert site.ask("GET", "/v1/models", text).status_code == 200, "looking costs nothing"
        assert 'hanlin_rate_limited_total{code="rate_limit_exceeded",key="web"} 1.0' in site.ask("GET", "/metrics").text


def test_a_reply_that_fails_costs_what_was_said(tiny_tokenizer: Tokenizer, tmp_path: Path, keys: Path):
    text = add_key(keys, "web", KeyLimits(tokens_per_day=10_000, streams=1))
    with Site(tiny_tokenizer, tmp_path, Script(broken_after=0), keys=str(keys)) as site:
        for _ in range(2):
            assert code_of(site.chat(text), 500) == "generation_failed"


def test_a_request_that_takes_too_long_is_ended(tiny_tokenizer: Tokenizer, tmp_path: Path):
    with Site(tiny_tokenizer, tmp_path, Script(seconds_per_token=0.05), timeout_seconds=0.3) as site:
        assert code_of(site.chat(), 504) == "timeout"
        *_, last = site.chat(stream=True).text.strip().split("\n\n")
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "timeout"


def test_headers_too_large(tiny_tokenizer: Tokenizer, tmp_path: Path):
    with Site(tiny_tokenizer, tmp_path, max_header_bytes=2000) as site:
        assert code_of(site.ask("GET", "/v1/models", headers={"x-long": "x" * 2000}), 431) == "headers_too_large"
        assert code_of(site.ask("GET", "/v1/models?" + "x" * 2000), 431) == "headers_too_large"


def test_json_too_deep(tiny_tokenizer: Tokenizer, tmp_path: Path):
    with Site(tiny_tokenizer, tmp_path, max_json_depth=5) as site:
        assert site.chat().status_code == 200
        assert code_of(site.chat(metadata=[[[[[1]]]]]), 400) == "invalid_json"


JSON = st.recursive(
    st.none() | st.text(alphabet='[]{}"\\a,:') | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='[{"\\'), inner, max_size=3),
    max_leaves=20,
)


def depth_of(value: object) -> int:
    inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else None
    return 0 if inner is None else 1 + max((depth_of(part) for part in inner), default=0)


@given(JSON)
def test_depth_is_that_of_the_json(value: object):
    body = json.dumps(value).encode()
    depth = depth_of(value)
    assert not depth_exceeds(body, depth)
    assert depth == 0 or depth_exceeds(body, depth - 1)


@given(st.binary(max_size=200) | st.text(alphabet='[]{}"\\').map(str.encode))
def test_depth_of_what_is_no_json_is_an_answer_too(body: bytes):
    assert depth_exceeds(body, 3) in (True, False)


@pytest.mark.parametrize("body", [b'"\\' * 500_000, b'"' + b'\\"' * 500_000, b"[]" * 500_000])
def test_depth_takes_one_look(body: bytes):
    assert not depth_exceeds(body, 3)


def test_pages_of_others_only_where_it_is_said(tiny_tokenizer: Tokenizer, tmp_path: Path):
    page = {"origin": "https://a.example"}
    wish = {**page, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    with Site(tiny_tokenizer, tmp_path) as site:
        assert code_of(site.chat(headers=page), 403) == "origin_not_allowed"
        assert "access-control-allow-origin" not in site.ask("OPTIONS", CHAT, headers=wish).headers
    with Site(tiny_tokenizer, tmp_path, cors=["https://a.example"]) as site:
        answered = site.chat(headers=page)
        assert answered.headers["access-control-allow-origin"] == "https://a.example"
        assert "x-request-id" in answered.headers["access-control-expose-headers"]
        allowed = site.ask("OPTIONS", CHAT, headers=wish)
        assert allowed.status_code == 200 and "authorization" in allowed.headers["access-control-allow-headers"]
        assert code_of(site.chat(headers={"origin": "https://b.example"}), 403) == "origin_not_allowed"
        assert code_of(site.chat(headers={**page, "host": "a.example"}), 403) == "host_not_allowed"
        refused = site.chat(headers=page, temperature=9)
        assert refused.status_code == 400 and "access-control-allow-origin" in refused.headers


def test_the_name_a_proxy_passes_on_counts_only_behind_one(tiny_tokenizer: Tokenizer, tmp_path: Path):
    through = {"x-forwarded-host": "chat.example", "origin": "https://chat.example"}
    with Site(tiny_tokenizer, tmp_path, token="secret") as site:
        assert code_of(site.chat("secret", through), 403) == "origin_not_allowed"
    with Site(tiny_tokenizer, tmp_path, token="secret", behind_proxy=True) as site:
        assert site.chat("secret", through).status_code == 200


def test_metrics_are_for_this_machine_or_a_key(tiny_tokenizer: Tokenizer, tmp_path: Path):
    with Site(tiny_tokenizer, tmp_path, token="secret") as site:
        assert site.ask("GET", "/metrics").status_code == 200
        assert site.ask("GET", "/metrics", "secret", peer="192.0.2.7").status_code == 200
        assert code_of(site.ask("GET", "/metrics", peer="192.0.2.7"), 401) == "invalid_api_key"
        for headers in ({"x-forwarded-for": "192.0.2.7"}, {"host": "rebound.example"}):
            assert code_of(site.ask("GET", "/metrics", headers=headers), 401) == "invalid_api_key"
    with Site(tiny_tokenizer, tmp_path, token="secret", open_metrics=True) as site:
        assert site.ask("GET", "/metrics", peer="192.0.2.7").status_code == 200


def test_metrics_count_what_happened(tiny_tokenizer: Tokenizer, tmp_path: Path):
    with Site(tiny_tokenizer, tmp_path) as site:
        usage = [site.chat(stream=False).json()["usage"] for _ in range(2)]
        site.chat(temperature=9)
        site.ask("GET", "/made/up")
        site.ask("FETCH", CHAT, headers={"host": "elsewhere.example"})
        families = {family.name: family for family in text_string_to_metric_families(site.ask("GET", "/metrics").text)}
    values = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    model, route = ("model", "tiny"), (("method", "POST"), ("route", CHAT))
    assert values["hanlin_requests_total", *route, ("status", "200")] == 2
    assert values["hanlin_requests_total", *route, ("status", "400")] == 1
    assert values["hanlin_requests_total", ("method", "GET"), ("route", "other"), ("status", "404")] == 1
    assert values["hanlin_requests_total", ("method", "other"), ("route", CHAT), ("status", "403")] == 1
    assert values["hanlin_prompt_tokens_total", model] == sum(used["prompt_tokens"] for used in usage)
    assert values["hanlin_reply_tokens_total", model] == sum(used["completion_tokens"] for used in usage)
    assert values["hanlin_time_to_first_token_seconds_count", model] == 2
    assert values["hanlin_time_per_token_seconds_count", model] == 2
    assert values["hanlin_replies_waiting", model] == values["hanlin_replies_running", model] == 0
    assert values["hanlin_cache_blocks", model] == 0, "this model keeps states, not blocks"
    assert values["hanlin_draining",] == 0


def test_blocks_of_the_cache(tiny_model_folder: Path):
    model = served_model(
        hanlin.load(tiny_model_folder), "tiny", Serve(engine={"cache_tokens": 640, "block_tokens": 32})
    )
    told = Metrics(Live(), [model]).text().decode()
    model.backend.close()
    assert 'hanlin_cache_blocks{model="tiny"} 20.0' in told
    assert 'hanlin_cache_blocks_used{model="tiny"} 0.0' in told


def test_the_log_has_a_line_a_request_without_what_was_said(tiny_tokenizer: Tokenizer, tmp_path: Path, keys: Path):
    text, path = add_key(keys, "web", KeyLimits()), tmp_path / "log"
    with Site(tiny_tokenizer, tmp_path, keys=str(keys), log=str(path)) as site:
        answered = site.chat(text, {"x-request-id": "page-7"})
        assert answered.headers["x-request-id"] == "page-7"
        strange = site.chat(text, {"x-request-id": "two words\t"}).headers["x-request-id"]
        assert len(strange) == 32
        site.ask("GET", "/v1/models")
        path.rename(tmp_path / "log.1")  # as logrotate does
        site.ask("GET", "/nothing", text)
    first, _, refused = map(json.loads, (tmp_path / "log.1").read_text(encoding="utf-8").splitlines())
    usage = answered.json()["usage"]
    assert (first["id"], first["key"], first["model"], first["adapter"]) == ("page-7", "web", "tiny", "")
    assert (first["route"], first["status"], first["finish"]) == (CHAT, 200, "stop")
    assert (first["tokens_in"], first["tokens_out"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert first["tokens_cached"] == 0
    assert all(first[name] >= 0 for name in ("queue_seconds", "prefill_seconds", "decode_seconds"))
    assert refused["status"] == 401 and refused["code"] == "invalid_api_key" and "model" not in refused
    assert json.loads(path.read_text(encoding="utf-8"))["route"] == ""
    assert "人民" not in (tmp_path / "log.1").read_text(encoding="utf-8") and text not in path.read_text()


def test_the_log_with_prompts(tiny_tokenizer: Tokenizer, tmp_path: Path):
    path = tmp_path / "log"
    with Site(tiny_tokenizer, tmp_path, log=str(path), log_prompts=True) as site:
        site.chat()
    line = json.loads(path.read_text(encoding="utf-8"))
    assert line["request"] == BODY and line["replies"] == [HOLDING]


def test_the_log_on_the_standard_error(tiny_tokenizer: Tokenizer, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    options = build(Serve, parse_overrides(["log=stderr"]), "serve")
    with Site(tiny_tokenizer, tmp_path, log=options.log) as site:
        site.ask("GET", "/health")
    assert json.loads(capfd.readouterr().err)["route"] == "/health"


def test_a_log_that_cant_be_written(tiny_tokenizer: Tokenizer, tmp_path: Path):
    with pytest.raises(HanlinError, match="log"):
        Site(tiny_tokenizer, tmp_path, log=str(tmp_path / "no" / "log"))


def test_spans_of_a_request(tiny_tokenizer: Tokenizer, tmp_path: Path):
    told = InMemorySpanExporter()
    with Site(tiny_tokenizer, tmp_path, otel="http://127.0.0.1:9") as site:
        site.front._closing[-1].close()
        site.front.sinks[-1] = site.front._closing[-1] = Spans(told)
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        usage = site.chat(headers={"traceparent": parent}).json()["usage"]
        site.ask("GET", "/v1/models")
    spans = {span.name: span for span in told.get_finished_spans()}
    assert set(spans) == {"chat tiny", "queue", "prefill", "decode"}
    request = spans["chat tiny"]
    assert format(request.context.trace_id, "032x") == "0af7651916cd43dd8448eb211c80319c"
    assert format(request.parent.span_id, "016x") == "b7ad6b7169203331"
    facts = request.attributes
    assert facts["gen_ai.usage.input_tokens"] == usage["prompt_tokens"]
    assert facts["gen_ai.usage.output_tokens"] == usage["completion_tokens"]
    assert facts["gen_ai.response.finish_reasons"] == ("stop",) and facts["http.response.status_code"] == 200
    for name in ("queue", "prefill", "decode"):
        phase = spans[name]
        assert phase.parent.span_id == request.context.span_id
        assert request.start_time <= phase.start_time <= phase.end_time <= request.end_time
    assert spans["queue"].end_time == spans["prefill"].start_time
    assert spans["prefill"].end_time == spans["decode"].start_time


def test_a_failed_reply_is_an_error_of_its_span(tiny_tokenizer: Tokenizer, tmp_path: Path):
    told = InMemorySpanExporter()
    with Site(tiny_tokenizer, tmp_path, Script(broken_after=0), otel="http://127.0.0.1:9") as site:
        site.front._closing[-1].close()
        site.front.sinks[-1] = site.front._closing[-1] = Spans(told)
        site.chat()
    (request,) = [span for span in told.get_finished_spans() if span.name == "chat tiny"]
    assert request.status.status_code is StatusCode.ERROR
    assert request.attributes["error.type"] == "generation_failed"


def test_without_spans_their_package_is_not_imported():
    code = "import sys, hanlin.use.serve.app; sys.exit('opentelemetry.sdk' in sys.modules)"
    assert run([sys.executable, "-c", code], check=False).returncode == 0
