/**
 * The wire: the public /v1 API and /health, nothing else. Every failure is an ApiError that says what to tell a person.
 */
import { events } from "./sse.js";
import { signal } from "./lib.js";
import { keepForTab, keptForTab } from "./keep.js";

const KEY = "tokenloom.key";

/**
 * What went wrong. kind: "offline" (nothing answers), "auth" (401), "busy" (429), "loading" (503 that says so), "load"
 * (the model cannot be loaded), "server" (other 5xx), "refused" (other statuses), "stream" (an error inside the
 * stream), "cut" (the stream ended too early).
 */
export class ApiError extends Error {
  /**
   * @param {string} kind
   * @param {string} message the server's own words, where it gave some
   * @param {{status?: number, retryAfter?: number}} [more]
   */
  constructor(kind, message, more = {}) {
    super(message);
    this.kind = kind;
    this.status = more.status;
    this.retryAfter = more.retryAfter;
  }
}

/** Counts the requests that nobody answered: whoever shows the engine's state follows it. */
export const unanswered = signal(0);
/** Set while the page asks for a key: {resolve(key | null), message}. */
export const keyRequest = signal(null);
/** The key of this tab, or null. */
export const key = signal(keptForTab(KEY));
let asking = null;

function setKey(value) {
  key.value = value;
  keepForTab(KEY, value);
}

/** Forgets the key of this tab. */
export function forgetKey() {
  setKey(null);
}

/** Asks the person for a key, once however many requests wait for it. Resolves to false when they decline. */
function askKey(message) {
  asking ??= new Promise((resolve) => {
    keyRequest.value = {
      message,
      resolve: (given) => {
        keyRequest.value = null;
        asking = null;
        if (given) setKey(given);
        resolve(Boolean(given));
      },
    };
  });
  return asking;
}

/**
 * The message and the code of an OpenAI-shaped error body, or FastAPI's `detail`, or the start of the text.
 * @returns {Promise<{message: string, code?: string}>}
 */
async function errorOf(response) {
  const text = await response.text();
  try {
    const body = JSON.parse(text);
    const said = body?.error?.message ?? body?.detail ?? body?.message;
    const code = body?.error?.code ?? undefined;
    if (typeof said === "string") return { message: said, code };
    if (Array.isArray(said)) return { message: said.map((one) => one?.msg ?? JSON.stringify(one)).join("; "), code };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return { message: text.startsWith("<") ? "" : text.slice(0, 400) };
}

/** A 503 is "loading" only where the server says it: by its code or, without one, by when to come back. */
function kindOf(status, code, retryAfter) {
  if (status === 401) return "auth";
  if (status === 429) return "busy";
  if (code === "model_load_failed") return "load";
  if (status === 503 && (code === "model_loading" || (!code && retryAfter))) return "loading";
  return status >= 500 ? "server" : "refused";
}

/**
 * One request; asks for a key on 401 and tries again with it. A FormData goes as a form, anything else as JSON.
 * @param {string} path
 * @param {{body?: unknown, signal?: AbortSignal}} [options]
 * @returns {Promise<Response>} an ok response
 */
export async function request(path, { body, signal: abort } = {}) {
  for (;;) {
    const headers = {};
    const used = key.value;
    if (used) headers.Authorization = `Bearer ${used}`;
    const form = body instanceof FormData;
    if (body !== undefined && !form) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(path, {
        method: body === undefined ? "GET" : "POST",
        headers,
        body: body === undefined || form ? body : JSON.stringify(body),
        signal: abort,
        cache: "no-store",
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      unanswered.value += 1;
      throw new ApiError("offline", "");
    }
    if (response.ok) return response;
    const { message, code } = await errorOf(response);
    // Another request may have been given a key meanwhile.
    if (response.status === 401 && (key.value !== used || (await askKey(message)))) continue;
    const retryAfter = Number(response.headers.get("Retry-After")) || undefined;
    const { status } = response;
    throw new ApiError(kindOf(status, code, retryAfter), message, { status, retryAfter });
  }
}

/** @returns {Promise<Array<{id: string} & Record<string, unknown>>>} the models that can be asked */
export async function listModels() {
  const body = await (await request("/v1/models")).json();
  return Array.isArray(body.data) ? body.data : [];
}

/** @returns {Promise<object[]>} the declared tasks; none where the server has no such route */
export async function listTasks() {
  try {
    const body = await (await request("/v1/tasks")).json();
    return Array.isArray(body) ? body : (body.data ?? []);
  } catch (error) {
    if (error instanceof ApiError && (error.status === 404 || error.status === 405)) return [];
    throw error;
  }
}

/** @returns {Promise<Array<{id: string, languages: string[]}>>} the voices; none where the server has no such route */
export async function listVoices() {
  try {
    return (await (await request("/v1/audio/voices")).json()).data ?? [];
  } catch (error) {
    if (error instanceof ApiError && (error.status === 404 || error.status === 405)) return [];
    throw error;
  }
}

/** Who is silent for so long counts as gone. */
const HEALTH_MS = 10_000;

/** @returns {Promise<"ok" | "starting" | "offline">} never throws: this is how the page learns that the server is gone */
export async function health() {
  try {
    const response = await fetch("/health", { cache: "no-store", signal: AbortSignal.timeout(HEALTH_MS) });
    return response.ok ? "ok" : "starting";
  } catch {
    return "offline";
  }
}

/**
 * POSTs and yields the parsed events of the answer's stream.
 * @param {string} path
 * @param {object | FormData} body
 * @param {AbortSignal} abort
 * @param {(headers: Headers) => void} [begun] called when the server has taken the request
 * @returns {AsyncGenerator<any>}
 */
export async function* stream(path, body, abort, begun) {
  const response = await request(path, { body, signal: abort });
  begun?.(response.headers);
  if (!(response.headers.get("Content-Type") ?? "").includes("text/event-stream")) {
    yield await response.json();
    return;
  }
  let done = false;
  try {
    // Read to the very end, past [DONE]: to hang up early would look like a person who left.
    for await (const data of events(response.body)) {
      done ||= data === "[DONE]";
      if (done) continue;
      const event = JSON.parse(data);
      if (event.error) throw new ApiError("stream", event.error.message ?? String(event.error));
      yield event;
    }
  } catch (error) {
    if (error instanceof ApiError || error.name === "AbortError") throw error;
    if (done) return;
    throw new ApiError("cut", error instanceof SyntaxError ? error.message : "");
  }
  if (!done) throw new ApiError("cut", "");
}
