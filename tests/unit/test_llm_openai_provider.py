"""Our own transport: what it sends, what it refuses to do, and how it shares connections."""

import asyncio
import socket
import subprocess
import sys
from contextlib import aclosing

import pytest

import hive_daemon.llm.openai_transport as wire_module
from hive_daemon.llm.connections import close_connections
from hive_daemon.llm.failures import CallRejected, CallUnavailable, FailureKind
from hive_daemon.llm.openai_provider import OpenAIProvider
from hive_daemon.llm.stream_events import TextEndEvent
from tests.fakes.model_stages import ASKED, TALK, NativeStage, events_from, of
from tests.fakes.openai_server import Break, Failure, Reply, breaking


@pytest.fixture
async def stage():
    async with NativeStage() as stage:
        yield stage


async def sent(stage, **options):
    await stage.provider(TALK, **options).acomplete(ASKED, max_tokens=9)
    return stage.server.requests[-1]


async def test_a_model_that_thinks_gets_the_limit_it_knows_and_no_sampling_parameters(stage):
    request = await sent(stage, model="openai/gpt-5-mini", temperature=0.7, seed=1)
    assert request.body == {
        "model": "gpt-5-mini",
        "messages": ASKED,
        "max_completion_tokens": 9,
        "seed": 1,
    }


async def test_options_of_the_client_steer_it_and_are_not_sent(stage):
    request = await sent(
        stage,
        extra_headers={"X-Team": "blue"},
        extra_body={"top_k": 5},
        organization="org-1",
        num_retries=4,
        drop_params=True,
    )
    assert request.body == {"model": "fake", "messages": ASKED, "max_tokens": 9, "top_k": 5}
    assert (request.headers["X-Team"], request.headers["OpenAI-Organization"]) == ("blue", "org-1")


async def test_the_key_is_read_when_it_is_used(stage, monkeypatch):
    provider = OpenAIProvider("openai/fake", api_base=stage.server.base_url)
    for key in ("sk-before", "sk-after"):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        await provider.acomplete(ASKED)
    monkeypatch.delenv("OPENAI_API_KEY")
    await provider.acomplete(ASKED)
    await provider.aclose()
    assert [request.key for request in stage.server.requests] == ["sk-before", "sk-after", ""]


async def test_openai_without_a_key_is_refused_before_anything_is_sent(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CallRejected, match="set OPENAI_API_KEY") as failure:
        await OpenAIProvider("openai/gpt-5").acomplete(ASKED)
    assert failure.value.kind is FailureKind.AUTH


@pytest.mark.parametrize("streams", [True, False])
async def test_a_redirect_is_not_followed_and_the_key_stays(stage, streams):
    async with NativeStage() as elsewhere:
        target = f"{elsewhere.server.base_url}/chat/completions"
        provider = stage.provider(Failure(307, location=target))
        with pytest.raises(CallRejected) as failure:
            await (events_from(provider) if streams else provider.acomplete(ASKED))
        assert failure.value.kind is FailureKind.BAD_REQUEST
        assert elsewhere.server.requests == []


async def test_a_whole_answer_to_who_asked_for_a_stream_is_taken(stage):
    events = await events_from(stage.provider(Reply(text="at once", streams=False)))
    assert of(events, TextEndEvent) == [TextEndEvent(full_text="at once")]


@pytest.mark.parametrize("streams", [True, False])
async def test_an_error_that_comes_as_a_good_answer_is_an_error(stage, streams):
    provider = stage.provider(Failure(200, code="rate_limit_exceeded"), max_attempts=1)
    with pytest.raises(CallUnavailable) as failure:
        await (events_from(provider) if streams else provider.acomplete(ASKED))
    assert failure.value.kind is FailureKind.RATE_LIMITED


async def test_an_answer_is_complete_even_if_its_connection_stays_open(stage):
    chunks = 9
    answer = breaking(TALK, Break.LINGER, chunks)
    events = await events_from(stage.provider(answer))
    assert of(events, TextEndEvent) == [TextEndEvent(full_text=TALK.text)]


@pytest.mark.parametrize("streams", [True, False])
async def test_an_answer_beyond_all_measure_is_refused(stage, streams, monkeypatch):
    monkeypatch.setattr(wire_module, "MOST_BYTES", 2**20)
    provider = stage.provider(Reply(text="x" * 2**21, piece=2**21))
    with pytest.raises(CallRejected, match="larger than 1 MiB"):
        await (events_from(provider) if streams else provider.acomplete(ASKED))


@pytest.mark.parametrize("streams", [True, False])
async def test_an_address_that_is_none_is_refused(stage, streams):
    provider = stage.provider(api_base="no address")
    with pytest.raises(CallRejected, match="no address to call"):
        await (events_from(provider) if streams else provider.acomplete(ASKED))


async def test_a_missing_model_tells_the_address_that_was_asked(stage):
    with pytest.raises(CallRejected) as failure:
        await stage.provider(Failure(404)).acomplete(ASKED)
    assert f"{stage.server.base_url}/chat/completions" in failure.value.hint


async def test_calls_share_connections_over_providers(stage):
    one, other = stage.provider(), stage.provider()
    for provider in (one, other, one):
        await provider.acomplete(ASKED)
        await events_from(provider)
    assert stage.server.open_connections == 1


async def test_a_connection_that_the_service_closed_meanwhile_costs_a_try_and_no_more(stage):
    provider = stage.provider(TALK, TALK)
    await events_from(provider)
    await stage.server.drop_connections()
    assert of(await events_from(provider), TextEndEvent) == [TextEndEvent(full_text=TALK.text)]


async def test_what_nobody_closed_can_be_closed_at_the_end_and_calls_go_on_after(stage):
    provider = stage.provider()
    await provider.acomplete(ASKED)
    await close_connections()
    async with asyncio.timeout(5):
        while stage.server.open_connections:
            await asyncio.sleep(0)
    assert (await provider.acomplete(ASKED)).content == "ok"


async def test_a_proxy_of_the_environment_is_asked_unless_the_host_is_excepted(stage, monkeypatch):
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{place.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with pytest.raises(CallUnavailable):
            await stage.provider(max_attempts=1).acomplete(ASKED)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert (await stage.provider().acomplete(ASKED)).content == "ok"


async def test_leaving_a_stream_before_its_first_event_leaves_nothing(stage):
    provider = stage.provider(breaking(TALK, Break.STALL, 0))
    async with aclosing(provider.stream(ASKED)) as events:
        waiting = asyncio.ensure_future(anext(events))
        await stage.server.wait_for_requests(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await provider.aclose()
    async with asyncio.timeout(5):
        while stage.server.open_connections:
            await asyncio.sleep(0)


def test_making_one_imports_no_aiohttp():
    program = (
        "import sys\n"
        "from hive_daemon.llm import make_provider\n"
        "print(type(make_provider('openai/gpt-5', fallbacks=['anthropic/claude-x'])).__name__)\n"
        "print(sorted({'litellm', 'openai', 'httpx', 'aiohttp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("FallbackProvider\n[]\n", "")
