"""The declared tasks over HTTP: GET /v1/tasks lists them, POST /v1/tasks/{name} runs one.

A task becomes an ordinary chat or completion, here or upstream, and its answer has that route's shape. The
steps after it (trim, label) are done on a whole answer; a stream comes as the model writes it. Where each
version has several drafts, the best is known when all are whole: then a stream brings each version in one
piece.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Literal

from pydantic import model_validator
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from tokenloom import tasks
from tokenloom.serve import audio, dispatch, images, music, sse
from tokenloom.serve.body import Body, checked, read_json
from tokenloom.serve.desk import Desk
from tokenloom.serve.errors import ApiError
from tokenloom.serve.fetch import data_url
from tokenloom.serve.schema_images import EditRequest, VariationRequest
from tokenloom.serve.schema_music import MusicRequest


class TaskRequest(Body):
    model: str | None = None
    """When not given: the task's own, else the first on offer."""
    fields: dict[str, Any]
    """The task's fields, as GET /v1/tasks declares them."""
    lang: Literal["en", "zh"] = "en"
    stream: bool = False
    """Where each version has several drafts, it comes in one piece, when the best of them is known."""
    publish: bool = False
    """The text comes with its visible label, to be published as it is."""

    @model_validator(mode="after")
    def _together(self) -> TaskRequest:
        if self.publish and self.stream:
            raise ValueError("publish labels a whole answer; leave stream out")
        return self


def listed(desk: Desk) -> dict[str, Any]:
    """Those of pictures and music are among them where a model that makes them is on offer, one that sees for
    the words; reading aloud where there is an engine here: GET /v1/audio/voices says whether a voice is, too.
    """
    models = desk.models
    able = {"picture": bool(models.painters()), "caption": bool(models.seers())}
    able |= {"music": bool(models.composers()), "speech": desk.engine is not None}
    known = [task for task in tasks.tasks().values() if able.get(task.kind, True)]
    return {"object": "list", "data": [tasks.fields_json(task) for task in known]}


async def run(desk: Desk, http: HttpRequest, name: str) -> Response:
    """The answer of one task."""
    known = tasks.tasks()
    if name not in known:
        raise ApiError(404, f"No task {name!r}; there are: {', '.join(known)}.", code="task_not_found")
    task = known[name]
    asked = checked(TaskRequest, await read_json(http))
    if not task.prompt:
        return await _other(desk, http, task, asked)
    try:
        prompt = tasks.build(task, asked.fields, asked.lang)
    except tasks.FieldError as error:
        raise _named(str(error), task) from None
    at_once = asked.stream and prompt.drafts == 1
    value: dict[str, Any] = {**prompt.sampling, "stream": at_once}
    if asked.model is not None or prompt.model:
        value["model"] = asked.model or prompt.model
    if prompt.constraint is not None:
        value["structured_outputs"] = {prompt.constraint.kind: prompt.constraint.text}
    if prompt.controls:
        await _check_model(desk, value["model"], prompt)
        value["parse_special"] = True
    if prompt.kind == "chat":
        answer = await dispatch.answer_chat(desk, http, {**value, "messages": list(prompt.messages)})
    else:
        answer = await dispatch.answer_completion(desk, http, {**value, "prompt": prompt.text})
    if at_once or answer.status_code != 200:
        return answer
    whole = _finished(task, asked, _kept(prompt, json.loads(bytes(answer.body))))
    seed = answer.headers.get("x-tokenloom-seed")
    headers = {} if seed is None else {"x-tokenloom-seed": seed}
    if asked.stream:
        return sse.EventStream(_pieces(whole), None, desk.settings.keepalive_s, headers)
    return JSONResponse(whole, headers=headers)


async def _other(desk: Desk, http: HttpRequest, task: tasks.Task, asked: TaskRequest) -> Response:
    """A task of pictures or sound: its fields are those of the route that does it, and its answer has that
    route's shape. What is made is labelled whether it is published or not."""
    try:
        values = tasks.values_of(task, asked.fields, asked.lang)
    except tasks.FieldError as error:
        raise _named(str(error), task) from None
    body = {name: value for name, value in values.items() if value is not None}
    if asked.model is not None:
        body["model"] = asked.model
    try:
        if task.kind == "music":
            return await _music(desk, http, asked, body)
        if task.kind == "speech":
            return await audio.speech(desk, http, body | ({"stream_format": "sse"} if asked.stream else {}))
        body["stream"] = asked.stream
        if task.kind == "caption":
            return await _caption(desk, http, task, asked, body)
        body["lang"] = asked.lang
        if task.name == "draw":
            return await images.generations(desk, http, body)
        files: dict[str, bytes] = {n: data_url(body[n], n) for n in ("image", "mask") if n in body}
        if task.name == "vary":
            return await images.varied(desk, http, checked(VariationRequest, body), files)
        return await images.edited(desk, http, checked(EditRequest, body), files)
    except ApiError as error:
        if error.param in values:
            error.param = f"fields.{error.param}"
        raise


async def _music(desk: Desk, http: HttpRequest, asked: TaskRequest, body: dict[str, Any]) -> Response:
    """Notes in MIDI and ABC; the route itself gives sounds and piano rolls as well."""
    if asked.stream:
        message = "stream: a tune comes whole; leave stream out"
        raise ApiError(422, message, param="stream", code="invalid_value")
    body |= {"lang": asked.lang, "answer": "json", "response_format": ["midi", "abc"]}
    return await music.composed(desk, http, checked(MusicRequest, body))


async def _caption(
    desk: Desk, http: HttpRequest, task: tasks.Task, asked: TaskRequest, body: dict[str, Any]
) -> Response:
    model = body.get("model") or next(iter(desk.models.seers()), task.model)
    parts = [{"type": "image_url", "image_url": {"url": body.pop("image")}}]
    words = {"type": "text", "text": task.title[asked.lang]}
    message = {"role": "user", "content": [words, *parts]}
    answer = await dispatch.answer_chat(desk, http, {**body, "model": model, "messages": [message]})
    if asked.stream or answer.status_code != 200:
        return answer
    headers = {"x-tokenloom-seed": answer.headers["x-tokenloom-seed"]}
    return JSONResponse(_finished(task, asked, json.loads(bytes(answer.body))), headers=headers)


def _kept(prompt: tasks.Prompt, whole: dict[str, Any]) -> dict[str, Any]:
    """The answer with the best draft of each version; its usage counts them all."""
    if prompt.drafts == 1:
        return whole
    choices = sorted(whole["choices"], key=lambda choice: choice["index"])
    if len(choices) != prompt.sampling["n"]:
        message = (
            f"The server behind wrote {len(choices)} of {prompt.sampling['n']} drafts; ask with drafts 1."
        )
        raise ApiError(502, message, code="upstream_error")
    done = [choice["finish_reason"] == "stop" for choice in choices]
    kept = tasks.keep(prompt.drafts, prompt.mark, [choice["text"] for choice in choices], done)
    return {**whole, "choices": [{**choices[at], "index": index} for index, at in enumerate(kept)]}


async def _pieces(whole: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
    """A whole completion as its stream: one event for each choice."""
    head = {key: value for key, value in whole.items() if key not in ("choices", "usage")}
    for choice in whole["choices"]:
        yield sse.event({**head, "choices": [choice]})
    yield sse.DONE


async def _check_model(desk: Desk, name: str, prompt: tasks.Prompt) -> None:
    """ApiError 422 where a model of ours does not know the control tokens that the prompt is written with."""
    if desk.models.split(name) is None:
        return  # upstream's, or unknown: the route says so
    known = (await desk.models.get(name)).tokenizer.special
    if missing := [token for token in prompt.controls if token not in known]:
        message = (
            f"The model {name!r} has no {missing[0]}, with which this task is written; use {prompt.model}."
        )
        raise ApiError(422, message, param="model", code="invalid_value")


def _named(message: str, task: tasks.Task) -> ApiError:
    name = message.partition(" ")[0]
    param = f"fields.{name}" if name in {field.name for field in task.fields} else "fields"
    return ApiError(422, message, param=param, code="invalid_value")


def _finished(task: tasks.Task, asked: TaskRequest, whole: Mapping[str, Any]) -> dict[str, Any]:
    """The answer with the task's steps done on each choice's text."""
    choices = []
    for choice in whole["choices"]:
        if "message" in choice:
            message = choice["message"]
            text = tasks.finish(task, message["content"] or "", asked.lang, asked.publish)
            choices.append({**choice, "message": {**message, "content": text}})
        else:
            text = tasks.finish(task, choice["text"], asked.lang, asked.publish)
            choices.append({**choice, "text": text})
    return {**whole, "choices": choices}
