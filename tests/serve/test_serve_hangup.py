"""Clients that leave: their slot is free at once, the others get their answers."""

from __future__ import annotations

import asyncio
import random

import httpx
import pytest
from fake_engine import FakeEngine
from serving import Serve

CHAT = "/v1/chat/completions"


def body(text: str, stream: bool) -> dict[str, object]:
    return {"model": "tiny", "messages": [{"role": "user", "content": text}], "stream": stream}


@pytest.mark.parametrize("text", ["HANG", "LOOP(on and on )POOL"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_slot(serve: Serve, stream: bool, text: str) -> None:
    served = serve(engine=FakeEngine(context=1_000_000, tick_s=0.005))

    async def leave() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            asked = asyncio.create_task(client.post(served.url + CHAT, json=body(text, stream), timeout=30))
            while not served.engine.open:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            asked.cancel()
            await asyncio.wait({asked})

    asyncio.run(leave())
    assert served.engine.idle(), "the engine still works for a client that is gone"
    assert len(served.engine.aborted) == 1


def test_leaving_after_some_of_the_stream(serve: Serve) -> None:
    served = serve(engine=FakeEngine(context=1_000_000, tick_s=0.005))
    with served.client.stream("POST", served.url + CHAT, json=body("LOOP(on )POOL", True)) as answer:
        for number, _ in enumerate(answer.iter_lines()):
            if number == 20:
                break
    assert served.engine.idle()


def test_a_waiting_stream_is_kept_company(serve: Serve) -> None:
    served = serve(keepalive_s=0.05, first_news_s=0.05)
    with served.client.stream("POST", served.url + CHAT, json=body("HANG", True)) as answer:
        lines = []
        for line in answer.iter_lines():
            lines.append(line)
            if len(lines) == 6:
                break
    assert lines == [": waiting", ""] * 3
    assert served.engine.idle()


def test_64_clients_a_third_hang_up(serve: Serve) -> None:
    """No request is left in the engine, and every answer that was waited for is right."""
    served = serve(engine=FakeEngine(tick_s=0.001))
    rng = random.Random(5)

    async def one(client: httpx.AsyncClient, number: int) -> None:
        text = f"answer {number} " * rng.randint(1, 4)
        stream = number % 2 == 0
        asked = body(f"SAY({text})YAS", stream)
        if number % 3 == 0:
            await leave(client, asked, stream)
            return
        answer = await client.post(served.url + CHAT, json=asked)
        assert answer.status_code == 200
        if stream:
            said = "".join(part["choices"][0]["delta"].get("content") or "" for part in parts(answer.text))
        else:
            said = answer.json()["choices"][0]["message"]["content"]
        assert said == text

    async def leave(client: httpx.AsyncClient, asked: dict[str, object], stream: bool) -> None:
        if not stream:
            task = asyncio.create_task(client.post(served.url + CHAT, json=asked))
            await asyncio.sleep(rng.random() / 10)
            task.cancel()
            await asyncio.wait({task})
            return
        async with client.stream("POST", served.url + CHAT, json=asked) as answer:
            left = rng.randint(0, 6)
            async for _ in answer.aiter_lines():
                left -= 1
                if left < 0:
                    break

    async def crowd() -> None:
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(timeout=60, limits=limits, trust_env=False) as client:
            for _ in range(2):
                await asyncio.gather(*(one(client, number) for number in range(64)))

    asyncio.run(crowd())
    assert served.engine.idle()
    assert served.app.state.desk.queue.taken == 0


def parts(text: str) -> list[dict[str, object]]:
    import json

    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]
