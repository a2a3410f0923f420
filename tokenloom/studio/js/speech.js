/**
 * Speech: texts read aloud, recordings written down, and what came of each. One work at a time on the page of sound; an
 * answer of a chat is read beside it. All of it lives as long as the page.
 */
import { ApiError, listVoices, request } from "./api.js";
import { told } from "./chat.js";
import { t } from "./i18n.js";
import { computed, signal } from "./lib.js";
import { canRecord, record } from "./record.js";
import { say, soundTasks, spoken } from "./state.js";
import { newId } from "./store.js";

/**
 * @typedef {"read" | "hear"} Mode
 *
 * @typedef {object} Sounding a text that was read, or a recording that was written down
 * @property {string} id
 * @property {Mode} mode
 * @property {string} name
 * @property {Record<string, any>} asked
 * @property {Blob} [sound]
 * @property {string} [url] of the sound
 * @property {Float32Array} [peaks] of the sound, 0 to 1; missing where this browser cannot decode it
 * @property {number} [seconds]
 * @property {string} [voice]
 * @property {string} [text] what was said
 * @property {string} [language]
 * @property {Record<"srt" | "vtt", string>} [subtitles] of what was said
 * @property {{abort: AbortController, started: number}} [run]
 * @property {"stopped" | "error"} [finish]
 * @property {import("./store.js").Failure} [error]
 * @property {number} [took] milliseconds
 */

/** @type {Mode[]} */
export const MODES = ["read", "hear"];
/** @type {{value: Mode}} */
export const mode = signal("read");
/** @type {{value: Record<string, string>}} by field */
export const typed = signal({});
/** @type {{value: Array<{id: string, languages: string[]}> | null}} null until the server has told */
export const voices = signal(null);
/** @type {{value: Sounding[]}} the latest first */
export const soundings = signal([]);
/** @type {{value: Sounding | undefined}} */
export const working = computed(() => soundings.value.find((one) => one.run));
/** The recording under way, or null. */
export const recording = signal(null);
/** The declared fields of reading aloud. */
export const fields = computed(() => soundTasks.value.get("speak")?.fields ?? []);
/** Whether the server speaks and listens. */
export const sounds = computed(() => soundTasks.value.has("speak"));

/** @param {string} name @param {string} value */
export function type(name, value) {
  typed.value = { ...typed.value, [name]: value };
}

/** Learns the voices; a failure is that of the next request. */
export async function learnVoices() {
  try {
    voices.value = await listVoices();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
}

function change(id, part) {
  soundings.value = soundings.value.map((one) => (one.id === id ? { ...one, ...part } : one));
}

/** Takes one out of the list. @returns {() => void} puts it back */
export function removeSounding(id) {
  const old = soundings.value;
  const at = old.findIndex((one) => one.id === id);
  soundings.value = old.filter((one) => one.id !== id);
  return () => (soundings.value = [...soundings.value.slice(0, at), old[at], ...soundings.value.slice(at)]);
}

/** Ends what is under way, be it a recording or a request. */
export function stopSound() {
  recording.value?.cancel();
  recording.value = null;
  working.value?.run.abort.abort();
}

/** The request of a reading. `label` says how the sound itself tells that it is AI-generated. */
const speech = (asked, label, form) => ({ ...asked, label, response_format: form });

/** Puts a work in the list and does it; how it ends is written there. */
async function perform(one, work) {
  const run = { abort: new AbortController(), started: performance.now() };
  soundings.value = [{ ...one, run }, ...soundings.value];
  const part = {};
  try {
    Object.assign(part, await work(run.abort.signal));
  } catch (failure) {
    if (failure.name === "AbortError") part.finish = "stopped";
    else if (failure instanceof ApiError) Object.assign(part, { finish: "error", error: told(failure) });
    else throw failure;
  } finally {
    change(one.id, { ...part, run: undefined, took: performance.now() - run.started });
  }
  if (part.finish === "stopped") spoken.value = t("live.stopped");
  return part;
}

/** Reads a text aloud. @param {Record<string, any>} asked */
export async function read(asked) {
  if (working.value) return;
  const one = { id: newId(), mode: "read", name: asked.input, asked };
  spoken.value = t("sound.live.begun");
  const { finish } = await perform(one, async (signal) => {
    const response = await request("/v1/audio/speech", { body: speech(asked, "hidden", "mp3"), signal });
    const voice = response.headers.get("x-tokenloom-voice") ?? "";
    const sound = await response.blob();
    return { sound, voice, url: URL.createObjectURL(sound), ...(await measured(sound)) };
  });
  if (!finish) spoken.value = t("sound.live.done");
}

/** The peaks of a sound, 400 of them, and its length; nothing where this browser cannot decode it. */
async function measured(sound) {
  let decoded;
  try {
    decoded = await new OfflineAudioContext(1, 1, 44_100).decodeAudioData(await sound.arrayBuffer());
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    return {};
  }
  const samples = decoded.getChannelData(0);
  const peaks = new Float32Array(400);
  const step = samples.length / peaks.length;
  for (let at = 0; at < peaks.length; at++) {
    let most = 0;
    const stop = Math.min(samples.length, Math.ceil((at + 1) * step));
    for (let k = Math.floor(at * step); k < stop; k++) most = Math.max(most, Math.abs(samples[k]));
    peaks[at] = most;
  }
  return { peaks, seconds: decoded.duration };
}

/**
 * A reading as it is handed on: tones at its beginning say that it is AI-generated.
 * @param {Sounding} one @param {"mp3" | "wav" | "flac" | "opus"} form @returns {Promise<Blob>} throws ApiError
 */
export async function fileOf({ asked, voice }, form) {
  const body = { ...speech(asked, "audible", form), voice: voice || asked.voice };
  return (await request("/v1/audio/speech", { body })).blob();
}

/** The form of a recording that is to be written down. @param {string[]} subtitles come with the answer */
function hearing(file, { language, translate } = {}, form = "verbose_json", subtitles = []) {
  const body = new FormData();
  body.append("file", file, file.name);
  body.append("response_format", form);
  for (const one of subtitles) body.append("subtitles[]", one);
  if (language && !translate) body.append("language", language);
  return [translate ? "/v1/audio/translations" : "/v1/audio/transcriptions", body];
}

/** Writes a recording down. @param {File} file @param {{language?: string, translate?: boolean}} asked */
export async function hear(file, asked) {
  if (working.value) return;
  const one = { id: newId(), mode: "hear", name: file.name, asked, sound: file, url: URL.createObjectURL(file) };
  spoken.value = t("sound.live.listening");
  const part = await perform(one, async (signal) => {
    void measured(file).then((found) => change(one.id, found));
    const [path, body] = hearing(file, asked, "verbose_json", ["srt", "vtt"]);
    const { text, language, duration, subtitles } = await (await request(path, { body, signal })).json();
    return { text: text.trim(), language, seconds: duration, subtitles };
  });
  if (part.text !== undefined) spoken.value = part.text || t("sound.nothing");
}

/** What is said into the microphone, as a text. @param {File} file @param {AbortSignal} [signal] */
export async function dictated(file, signal) {
  const [path, body] = hearing(file, {}, "json");
  return (await (await request(path, { body, signal })).json()).text.trim();
}

/** Begins to record, or says why it cannot. @returns {Promise<boolean>} */
export async function beginRecording() {
  if (recording.value || !canRecord()) return false;
  try {
    recording.value = await record();
    return true;
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    say(t(error.name === "NotAllowedError" ? "mic.refused" : "mic.none"));
    return false;
  }
}

/** Ends the recording. @returns {Promise<File>} */
export async function endRecording() {
  const file = await recording.value.stop();
  recording.value = null;
  return file;
}
