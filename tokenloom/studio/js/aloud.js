/** An answer of a chat read aloud, one at a time; the words beside it bear the label. */
import { ApiError, request } from "./api.js";
import { t } from "./i18n.js";
import { signal } from "./lib.js";
import { say } from "./state.js";

/** @type {{value: {id: string, phase: "waiting" | "playing", abort: AbortController, audio?: HTMLAudioElement} | null}} */
export const aloud = signal(null);

/** Stops the answer that is being read. */
export function hush() {
  aloud.value?.abort.abort();
  const { audio } = aloud.value ?? {};
  aloud.value = null;
  audio?.pause();
  if (audio) URL.revokeObjectURL(audio.src);
}

/** The words of an answer without the marks of Markdown; code is left out. @param {string} text */
export function plain(text) {
  return text
    .replace(/```[\s\S]*?(?:```|$)/g, "\n")
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/^\s*(?:#+|>|[-*+]|\|)\s*/gm, "")
    .replace(/[`*_~|]+/g, "")
    .trim();
}

/** Reads an answer, or stops reading it. @param {string} id @param {string} text */
export async function readAnswer(id, text) {
  const same = aloud.value?.id === id;
  hush();
  const input = plain(text);
  if (same || !input) return;
  const mine = { id, phase: "waiting", abort: new AbortController() };
  aloud.value = mine;
  try {
    const body = { input, label: "hidden", response_format: "mp3" };
    const response = await request("/v1/audio/speech", { body, signal: mine.abort.signal });
    const url = URL.createObjectURL(await response.blob());
    if (aloud.value !== mine) return;
    const audio = new Audio(url);
    audio.addEventListener("ended", () => aloud.value?.audio === audio && hush());
    aloud.value = { ...mine, phase: "playing", audio };
    await audio.play();
  } catch (error) {
    if (error.name === "AbortError") return;
    hush();
    if (error instanceof ApiError) say(error.message || t(`error.${error.kind}`, { status: error.status ?? "" }));
    else if (error instanceof DOMException) say(t("sound.unplayable"));
    else throw error;
  }
}
