/**
 * The conversations, kept in this browser, one entry each. Values are replaced, never changed in place.
 *
 * @typedef {{kind: string, message: string, status?: number, retryAfter?: number}} Failure
 * @typedef {{prompt?: number, completion?: number}} Usage
 * @typedef {object} Message
 * @property {string} id
 * @property {"user" | "assistant"} role
 * @property {string} text
 * @property {number} at milliseconds since 1970
 * @property {string} [model] who answered
 * @property {"stop" | "length" | "stopped" | "interrupted" | "error" | string} [finish] missing while it is written
 * @property {Usage} [usage]
 * @property {{first?: number, total: number, rate?: number}} [timing] milliseconds; tokens per second
 * @property {string} [seed] as the server told it
 * @property {Failure} [error]
 *
 * @typedef {{model: string, system: string, sampling: Record<string, number>}} Settings
 * @typedef {{id: string, title: string, created: number, updated: number, settings: Settings, messages: Message[]}}
 *   Conversation
 */
import { batch, computed, signal } from "./lib.js";
import { keep, kept, keptKeys } from "./keep.js";

const PREFIX = "tokenloom.chat.";
const DEFAULTS = "tokenloom.settings";
const FORMAT = 1;

/** A short id, unique in this browser. Not crypto.randomUUID: that needs https or localhost. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  return Array.from(bytes, (byte) => byte.toString(36).padStart(2, "0")).join("");
}

/** What a first chat's sampling starts with; see `suggest`. */
let suggested = {};

/** @type {{value: Conversation[]}} latest first */
export const conversations = signal(loadAll());
/** The id in the address, or "" for the chat not yet begun. */
export const openId = signal("");
/** @type {{value: Conversation}} */
const draft = signal(freshDraft());
/** The conversation on the screen. */
export const open = computed(() => find(openId.value) ?? draft.value);

/** @returns {Conversation | undefined} */
export function find(id) {
  if (id === draft.value.id) return draft.value;
  return conversations.value.find((one) => one.id === id);
}

function loadAll() {
  const found = [];
  for (const key of keptKeys(PREFIX)) {
    const one = parse(kept(key));
    if (one) found.push(one);
  }
  return found.sort((a, b) => b.updated - a.updated);
}

/** @returns {Conversation | null} null for what this version cannot read; it is left where it is */
function parse(text) {
  if (text === null) return null;
  let one;
  try {
    one = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    console.info("A kept chat could not be read: " + error.message);
    return null;
  }
  if (one?.format !== FORMAT) return null;
  const messages = one.messages.map((message) =>
    message.role === "assistant" && !message.finish ? { ...message, finish: "interrupted" } : message,
  );
  return { ...one, messages };
}

function freshDraft() {
  let settings = { model: "", system: "", sampling: suggested };
  try {
    settings = { ...settings, ...JSON.parse(kept(DEFAULTS) ?? "{}"), system: "" };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  const now = Date.now();
  return { id: newId(), title: "", created: now, updated: now, settings, messages: [] };
}

/** Puts the unwritten chat on the screen. */
export function startDraft() {
  draft.value = freshDraft();
}

/**
 * The sampling that the server's declaration of a chat starts with. It fills the settings of whoever has changed none
 * yet, where it can be seen and changed.
 * @param {Record<string, number>} sampling
 */
export function suggest(sampling) {
  suggested = sampling;
  const { settings, messages } = draft.value;
  if (kept(DEFAULTS) !== null || messages.length > 0 || Object.keys(settings.sampling).length > 0) return;
  draft.value = { ...draft.value, settings: { ...settings, sampling } };
}

function save(conversation) {
  return keep(PREFIX + conversation.id, JSON.stringify({ format: FORMAT, ...conversation }));
}

/**
 * Replaces a conversation by what `next` makes of it; a draft with messages joins the kept ones.
 * @param {string} id
 * @param {(old: Conversation) => Conversation} next
 */
export function change(id, next) {
  const old = find(id);
  if (!old) return;
  const changed = next(old);
  if (old === draft.value && changed.messages.length === 0) {
    draft.value = changed;
    return;
  }
  batch(() => {
    const others = conversations.value.filter((one) => one.id !== id);
    conversations.value = [changed, ...others].sort((a, b) => b.updated - a.updated);
    if (old === draft.value) draft.value = freshDraft();
  });
  save(changed);
}

/** @param {string} id @param {string} messageId @param {Partial<Message>} part */
export function changeMessage(id, messageId, part) {
  change(id, (old) => ({
    ...old,
    messages: old.messages.map((message) => (message.id === messageId ? { ...message, ...part } : message)),
  }));
}

/** Settings of this chat; the next new chat copies them, but for the system prompt. @param {Partial<Settings>} part */
export function changeSettings(id, part) {
  change(id, (old) => ({ ...old, settings: { ...old.settings, ...part } }));
  const now = find(id);
  if (now) keep(DEFAULTS, JSON.stringify({ model: now.settings.model, sampling: now.settings.sampling }));
}

/** Removes a conversation. @returns {() => void} puts it back */
export function remove(id) {
  const old = find(id);
  conversations.value = conversations.value.filter((one) => one.id !== id);
  keep(PREFIX + id, null);
  return () => putBack(old);
}

/** Puts a conversation back as it was. @param {Conversation} old */
export function putBack(old) {
  conversations.value = [old, ...conversations.value.filter((one) => one.id !== old.id)].sort(
    (a, b) => b.updated - a.updated,
  );
  save(old);
}

/** The first words of a text, as a title. @param {string} text */
export function titleOf(text) {
  const line = text.trim().split(/\n/, 1)[0].replace(/\s+/g, " ");
  const letters = Array.from(line);
  return letters.length > 48 ? letters.slice(0, 47).join("") + "…" : line;
}

/** Follows what other tabs do. @param {(id: string) => boolean} busy conversations that this tab is writing */
export function followOtherTabs(busy) {
  window.addEventListener("storage", (event) => {
    if (!event.key?.startsWith(PREFIX)) return;
    const id = event.key.slice(PREFIX.length);
    if (busy(id)) return;
    const others = conversations.value.filter((one) => one.id !== id);
    const now = parse(event.newValue);
    conversations.value = (now ? [now, ...others] : others).sort((a, b) => b.updated - a.updated);
  });
}
