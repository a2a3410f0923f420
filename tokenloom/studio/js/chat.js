/**
 * Asking and answering: what is sent, and how the pieces of an answer become its text.
 * One answer at a time per conversation; several conversations may be answered at once.
 */
import { ApiError, stream } from "./api.js";
import { t } from "./i18n.js";
import { batch, signal } from "./lib.js";
import { change, changeMessage, find, newId, titleOf } from "./store.js";

/**
 * @typedef {object} Run an answer being written
 * @property {string} conversation
 * @property {string} message
 * @property {AbortController} abort
 * @property {{value: string}} text a signal, set once a frame
 * @property {{value: "waiting" | "loading" | "writing"}} phase a signal
 * @property {number} started by performance.now()
 * @property {boolean} [left] the page was left meanwhile
 */

/** @type {{value: Map<string, Run>}} by conversation */
export const runs = signal(new Map());
/** The last answer that ended, for the live region: {text, stopped}. */
export const ended = signal(null);

const SAVE_MS = 2000;
const PATIENCE_MS = 600_000;

function setRun(id, run) {
  const next = new Map(runs.value);
  if (run) next.set(id, run);
  else next.delete(id);
  runs.value = next;
}

/** Sends a new message of the user. */
export function send(id, text) {
  const question = { id: newId(), role: "user", text, at: Date.now() };
  change(id, (old) => ({
    ...old,
    title: old.title || titleOf(text),
    messages: [...old.messages, question],
  }));
  return answer(id);
}

/**
 * Drops everything from a message on, and answers anew. With `text`, the message is the user's and is rewritten.
 * @returns {import("./store.js").Conversation | undefined} the conversation as it was, to put back
 */
export function resendFrom(id, messageId, text) {
  const old = find(id);
  const at = old?.messages.findIndex((message) => message.id === messageId) ?? -1;
  if (!old || at < 0 || runs.value.has(id)) return undefined;
  const messages = old.messages.slice(0, at);
  if (text !== undefined) messages.push({ ...old.messages[at], id: newId(), text, at: Date.now() });
  change(id, (before) => ({ ...before, messages }));
  void answer(id);
  return old;
}

/** Stops the answer of a conversation; what is written stays. */
export function stop(id) {
  runs.value.get(id)?.abort.abort();
}

/**
 * Whether the server refused the message at this place (4xx): it is shown as not sent, and later requests leave it out.
 * @param {import("./store.js").Message[]} messages
 */
export function refused(messages, at) {
  const error = messages[at].role === "user" ? messages[at + 1]?.error : undefined;
  return error?.kind === "refused" && error.status < 500;
}

/**
 * Takes a message and the answer to it out of a conversation.
 * @returns {import("./store.js").Conversation | undefined} the conversation as it was, to put back
 */
export function takeOut(id, messageId) {
  const old = find(id);
  const at = old?.messages.findIndex((message) => message.id === messageId) ?? -1;
  if (!old || at < 0 || runs.value.has(id)) return undefined;
  const end = old.messages[at + 1]?.role === "assistant" ? at + 2 : at + 1;
  change(id, (before) => ({ ...before, messages: [...old.messages.slice(0, at), ...old.messages.slice(end)] }));
  return old;
}

/**
 * The request for the next answer. Only what was set is sent: a 0 is a 0, and an empty field is absent.
 * @param {import("./store.js").Conversation} conversation
 */
export function requestBody(conversation) {
  const { model, system, sampling } = conversation.settings;
  const messages = system.trim() ? [{ role: "system", content: system }] : [];
  for (const [at, message] of conversation.messages.entries()) {
    if ((message.role === "assistant" && message.text === "") || refused(conversation.messages, at)) continue;
    messages.push({ role: message.role, content: message.text });
  }
  return { model, messages, stream: true, stream_options: { include_usage: true }, ...sampling };
}

/** Asks for the answer to the conversation as it stands. Resolves when it has ended, however it ended. */
export async function answer(id) {
  const conversation = find(id);
  if (!conversation || runs.value.has(id)) return;
  const body = requestBody(conversation);
  const message = { id: newId(), role: "assistant", text: "", at: Date.now(), model: body.model };
  /** @type {Run} */
  const run = {
    conversation: id,
    message: message.id,
    abort: new AbortController(),
    text: signal(""),
    phase: signal("waiting"),
    started: performance.now(),
  };
  batch(() => {
    setRun(id, run);
    change(id, (old) => ({ ...old, updated: Date.now(), messages: [...old.messages, message] }));
  });
  const result = await write(run, "/v1/chat/completions", body, (text) => changeMessage(id, message.id, { text }));
  if (run.left) Object.assign(result, { finish: "interrupted", error: undefined });
  batch(() => {
    changeMessage(id, message.id, result);
    setRun(id, null);
    ended.value = { text: result.text, finish: result.finish, id: message.id };
  });
}

/**
 * Reads a stream into a run's text, once a frame at most, and says how it ended.
 * @param {Run} run
 * @param {(text: string) => void} [save] called every two seconds with the text so far
 * @returns {Promise<Partial<import("./store.js").Message>>}
 */
export async function write(run, path, body, save) {
  const paint = painter(run.text);
  const so = { texts: [], text: "", finish: undefined, usage: undefined, seed: undefined, first: 0, last: 0 };
  let saved = run.started;
  let error;
  try {
    const begun = (headers) => (so.seed = headers.get("x-tokenloom-seed") ?? undefined);
    for await (const event of patient(run, path, body, begun)) {
      if (!take(event, so)) continue;
      run.phase.value = "writing";
      paint.set(so.text);
      if (save && so.last - saved > SAVE_MS) {
        saved = so.last;
        save(so.text);
      }
    }
  } catch (failure) {
    if (failure.name === "AbortError") so.finish = "stopped";
    else if (failure instanceof ApiError) {
      so.finish = "error";
      error = told(failure);
    } else throw failure;
  } finally {
    paint.now();
  }
  const { text, finish = "stop", usage, seed } = so;
  const versions = so.texts.length > 1 ? so.texts.map((one) => one ?? "") : undefined;
  return { text, versions, finish, usage, seed, error, timing: timing(run.started, so) };
}

/** What is kept of a failure. @param {ApiError} failure @returns {import("./store.js").Failure} */
export const told = ({ kind, message, status, retryAfter }) => ({ kind, message, status, retryAfter });

/** Several versions stand below each other, each under its number. */
function below(texts) {
  if (texts.length === 1) return texts[0];
  return texts.map((text, at) => `**${t("tasks.version", { n: at + 1 })}**\n\n${text}`).join("\n\n");
}

/** Puts an event into what is known. @returns whether there is more text */
function take(event, so) {
  let more = false;
  for (const choice of event.choices ?? []) {
    const piece = choice.delta?.content ?? choice.text ?? choice.message?.content ?? "";
    const at = choice.index ?? 0;
    so.texts[at] = (so.texts[at] ?? "") + piece;
    so.finish = choice.finish_reason ?? so.finish;
    more ||= piece !== "";
  }
  if (event.usage) so.usage = { prompt: event.usage.prompt_tokens, completion: event.usage.completion_tokens };
  if (!more) return false;
  so.text = below(so.texts);
  so.last = performance.now();
  so.first ||= so.last;
  return true;
}

/**
 * The events of an answer; while the model is being loaded it is asked for again as often as the server says.
 * @param {{abort: AbortController, phase: {value: string}, started: number}} run
 * @param {(headers: Headers) => void} begun called when the server has taken the request
 */
export async function* patient(run, path, body, begun) {
  for (;;) {
    try {
      yield* stream(path, body, run.abort.signal, begun);
      return;
    } catch (failure) {
      const wait = failure instanceof ApiError && failure.kind === "loading" && failure.retryAfter;
      if (!wait || performance.now() - run.started > PATIENCE_MS) throw failure;
      run.phase.value = "loading";
      await rest(Math.min(wait, 10) * 1000, run.abort.signal);
    }
  }
}

/** Waits, or throws an AbortError. */
function rest(ms, abort) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    abort.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    });
  });
}

/** A shorter writing than this gives no honest rate: its pieces arrived in one bunch. */
const RATE_MS = 100;

/** Tokens per second count from the first piece to the last, so reading the prompt is not in them. */
function timing(started, { first, last, usage }) {
  const tokens = usage?.completion ?? 0;
  return {
    first: first ? first - started : undefined,
    total: performance.now() - started,
    rate: tokens > 1 && last - first >= RATE_MS ? ((tokens - 1) * 1000) / (last - first) : undefined,
  };
}

/** Sets a signal at most once a frame; a hidden page has no frames, so a timer stands in. */
function painter(text) {
  let pending = null;
  let frame = 0;
  const now = () => {
    cancelAnimationFrame(frame);
    clearTimeout(frame);
    frame = 0;
    if (pending !== null) text.value = pending;
    pending = null;
  };
  return {
    now,
    set(value) {
      pending = value;
      frame ||= document.hidden ? setTimeout(now, 250) : requestAnimationFrame(now);
    },
  };
}

/** Ends the answers being written and keeps what there is of them: called when the page is left. */
export function leave() {
  for (const run of runs.value.values()) {
    run.left = true;
    run.abort.abort();
    changeMessage(run.conversation, run.message, { text: run.text.value, finish: "interrupted" });
  }
}
