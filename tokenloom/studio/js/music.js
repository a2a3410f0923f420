/**
 * Composing: what is typed, what is asked of the server, and the tunes that came of it. A tune has versions: each thing
 * that is done to it makes a new one, and the earlier ones stay. One work at a time; all of it lives as long as the page.
 */
import { ApiError } from "./api.js";
import { patient, told } from "./chat.js";
import { lang, t } from "./i18n.js";
import { computed, signal } from "./lib.js";
import { keep, kept } from "./keep.js";
import { readMidi } from "./midi.js";
import { fromBase64 } from "./picture.js";
import { composers, soundTasks, spoken } from "./state.js";
import { newId } from "./store.js";

/**
 * @typedef {"compose" | "given" | "continue" | "infill" | "harmonise"} Act
 *
 * @typedef {object} Version
 * @property {string} id
 * @property {Act} act what made it
 * @property {[number, number]} [span] numbers of the bars that were written by it
 * @property {Record<string, unknown>} [fields] with which it is asked for again
 * @property {File | null} [base] the file it was made of
 * @property {number} [index] its place in the answer
 * @property {Blob} file what is worked on: MIDI, or the file as it was opened
 * @property {Blob} [midi]
 * @property {string} [abc]
 * @property {string} [url] of its sound
 * @property {import("./midi.js").Tune | null} tune null until the server has read a file that is no MIDI
 * @property {Record<string, any>} [facts] as the server tells them
 * @property {string} [seed]
 * @property {boolean} [harmonised]
 * @property {boolean} [labelled] the file that was opened says that it is AI-generated
 * @property {string[]} [unknown] words that were not understood
 * @property {number} [took] milliseconds
 *
 * @typedef {object} Piece
 * @property {string} id
 * @property {string} name
 * @property {Record<string, any>} asked
 * @property {string} model
 * @property {Version[]} versions
 * @property {number} at the one that is looked at
 * @property {[number, number] | null} selected numbers of the first and last bar that are marked
 * @property {import("./midi.js").Tune} [early] what is written of the next version so far
 * @property {{act: Act, abort: AbortController, phase: {value: string}, started: number}} [run] while it is under way
 * @property {"stopped" | "error"} [finish] of the last work
 * @property {import("./store.js").Failure} [error]
 */

/** @type {{value: Record<string, string>}} by field */
export const typed = signal({});
/** @type {{value: Piece[]}} the latest first */
export const pieces = signal([]);
/** @type {{value: Piece | undefined}} the one that is being written; a score is rendered beside it */
export const underWay = computed(() => pieces.value.find((piece) => piece.run && piece.run.act !== "given"));

const COMPOSER = "tokenloom.composer";
const preferred = signal(kept(COMPOSER));
/** The card of the model that is asked. */
export const composer = computed(() => composers.value.find((one) => one.id === preferred.value) ?? composers.value[0] ?? null);

/** @param {string} name of a model of music */
export function chooseComposer(name) {
  preferred.value = name;
  keep(COMPOSER, name);
}

/** The declared fields of composing. */
export const fields = computed(() => soundTasks.value.get("compose")?.fields ?? []);

/** @param {string} name @param {string} value */
export function type(name, value) {
  typed.value = { ...typed.value, [name]: value };
}

/** The version of a piece that is looked at. @param {Piece} piece @returns {Version | undefined} */
export const shown = (piece) => piece.versions[piece.at];

/** @param {string} id @param {(old: Piece) => Piece} next */
function change(id, next) {
  pieces.value = pieces.value.map((piece) => (piece.id === id ? next(piece) : piece));
}

/** @param {Piece} piece @param {number} at */
export function look(piece, at) {
  change(piece.id, (old) => ({ ...old, at, selected: null }));
}

/** Marks bars, by number. @param {Piece} piece @param {[number, number] | null} selected */
export function select(piece, selected) {
  change(piece.id, (old) => ({ ...old, selected: selected && [Math.min(...selected), Math.max(...selected)] }));
}

/** Takes a piece out of the list. @returns {() => void} puts it back */
export function removePiece(id) {
  const old = pieces.value;
  const at = old.findIndex((piece) => piece.id === id);
  pieces.value = old.filter((piece) => piece.id !== id);
  return () => (pieces.value = [...pieces.value.slice(0, at), old[at], ...pieces.value.slice(at)]);
}

/** Ends the work under way; what was there stays. */
export function stopComposing() {
  underWay.value?.run.abort.abort();
}

/** Puts a piece's wish back into the form. @param {Piece} piece */
export function useAgain(piece) {
  const values = Object.entries(piece.asked).map(([name, value]) => [name, String(value)]);
  const seed = piece.versions[0]?.seed;
  typed.value = { ...Object.fromEntries(values), ...(seed ? { seed } : {}) };
}

/** Composes anew. @param {Record<string, any>} asked the fields that were filled in */
export async function compose(asked) {
  if (underWay.value || !composer.value) return;
  const name = asked.prompt || [asked.kind, asked.key].filter(Boolean).join(" · ") || t("compose.untitled");
  const piece = added({ name, asked, model: composer.value.id, versions: [], at: 0 });
  await write(piece, "compose", asked, null);
}

/** @returns {Piece} */
function added(part) {
  const piece = { id: newId(), selected: null, ...part };
  pieces.value = [piece, ...pieces.value];
  return piece;
}

/** Takes a score: MIDI, ABC or MusicXML. The notes of a MIDI file are seen at once. @param {File} file */
export async function openScore(file) {
  const tune = readMidi(new Uint8Array(await file.arrayBuffer()));
  const version = { id: newId(), act: "given", file, base: file, tune, fields: { task: "render" } };
  await render(added({ name: file.name, asked: {}, model: composer.value?.id ?? "", versions: [version], at: 0 }));
}

/** Has a score that was opened read and played as it is. @param {Piece} piece */
export async function render({ id, model, versions: [given] }) {
  const how = { label: "hidden", response_format: ["midi", "mp3"] };
  await ask({ id, model }, "given", { ...given.fields, ...how }, given.base, async (answer, labelled) => {
    const { file, ...made } = await versionOf(answer.data[0], answer, given);
    const version = { ...given, ...made, midi: file, labelled };
    change(id, (old) => ({ ...old, versions: [version, ...old.versions.slice(1)] }));
    spoken.value = t("compose.live.opened");
  });
}

/** @param {Piece} piece @param {number} bars how many to write behind it */
export const goOn = (piece, bars) => edit(piece, "continue", { task: "continue", bars });

/** Writes the marked bars anew. @param {Piece} piece */
export async function infill({ id }) {
  const piece = pieces.value.find((one) => one.id === id);
  if (piece?.selected) await edit(piece, "infill", { infill: piece.selected.join("-") });
}

/** Puts chords and a bass under it, by rules. @param {Piece} piece */
export const harmonise = (piece) => edit(piece, "harmonise", { task: "harmonise" });

/** Does something to the version that is looked at. A model writes melodies, so chords that are there are put again. */
async function edit(piece, act, what) {
  if (underWay.value || piece.run) return;
  const { file, harmonised } = shown(piece);
  const { temperature } = piece.asked;
  const how = act === "harmonise" ? {} : { temperature, harmonise: harmonised || undefined };
  const base = file instanceof File ? file : new File([file], "tune.mid", { type: file.type });
  await write(piece, act, { ...what, ...how }, base);
}

/** The request of a piece: JSON, or a form where there is a file. */
function body(model, sent, file) {
  const all = { model, ...sent, lang: lang.value, answer: "json" };
  if (!file) return all;
  const form = new FormData();
  for (const [name, value] of Object.entries(all)) {
    for (const one of value === undefined ? [] : [value].flat()) form.append(name, String(one));
  }
  form.append("file", file, file.name);
  return form;
}

/** Has a version written. @param {Piece} piece @param {Act} act */
async function write({ id, model, selected }, act, sent, base) {
  spoken.value = t("compose.live.begun");
  const how = { label: "hidden", stream: true, response_format: ["midi", "abc", "mp3"] };
  await ask({ id, model }, act, { ...sent, ...how }, base, async (answer, _, took) => {
    const made = await Promise.all(answer.data.map((one) => versionOf(one, answer, { act, fields: sent, base })));
    change(id, (old) => {
      const before = act === "continue" ? shown(old).tune : null;
      const spans = made.map((one) => ({ ...one, took, span: spanOf(one, selected, before) }));
      return { ...old, versions: [...old.versions, ...spans], at: old.versions.length, selected: null, early: undefined };
    });
    spoken.value = t("compose.live.done", { n: made[0].facts.bars });
  });
}

/**
 * Asks the server, and shows what is written so far of the first version.
 * @param {{id: string, model: string}} piece @param {Act} act
 * @param {(answer: any, labelled: boolean, took: number) => Promise<void>} take
 */
async function ask({ id, model }, act, sent, base, take) {
  const run = { act, abort: new AbortController(), phase: signal("waiting"), started: performance.now() };
  change(id, (old) => ({ ...old, run, finish: undefined, error: undefined }));
  const part = {};
  let labelled = false;
  const begun = (headers) => (labelled = headers.has("x-tokenloom-label"));
  try {
    for await (const event of patient(run, "/v1/audio/music", body(model, sent, base), begun)) {
      run.phase.value = "writing";
      if (event.type !== "music.partial") await take(event, labelled, performance.now() - run.started);
      else if (event.index === 0) change(id, (old) => ({ ...old, early: grown(old.early, event) }));
    }
  } catch (failure) {
    if (failure.name === "AbortError") part.finish = "stopped";
    else if (failure instanceof ApiError) Object.assign(part, { finish: "error", error: told(failure) });
    else throw failure;
  } finally {
    change(id, (old) => ({ ...old, ...part, run: undefined, early: undefined }));
  }
  if (part.finish === "stopped") spoken.value = t("live.stopped");
}

/** A tune so far with the bars of an event: one that is told again replaces what was told of it. Those to come are empty. */
function grown(tune, { bars, ticks, metre, tempo, of }) {
  const told = (tick) => bars.some(({ start, stop }) => tick >= start && tick < stop);
  const note = ([start, stop, pitch, velocity]) => ({ track: 0, drums: false, pitch, velocity, start, stop });
  const [beats, unit] = metre.split("/").map(Number);
  const old = { notes: [], bars: [], ...tune };
  const written = [...old.bars.filter(({ start, empty }) => !empty && !told(start)), ...bars];
  const all = written.map(({ number, start, stop }) => ({ number, start, stop })).sort((one, other) => one.start - other.start);
  while (all.at(-1).number < of) {
    const { number, stop } = all.at(-1);
    all.push({ number: number + 1, start: stop, stop: stop + (beats * 4 * ticks) / unit, empty: true });
  }
  return {
    notes: [...old.notes.filter(({ start }) => !told(start)), ...bars.flatMap(({ notes }) => notes.map(note))],
    tracks: [""],
    bars: all,
    quarter: ticks,
    beat: (4 * ticks) / unit,
    flats: false,
    pace: [[0, 0, 60 / ((tempo ?? 120) * ticks)]],
  };
}

/** Which bars are new. */
function spanOf({ act, tune }, selected, before) {
  if (act === "infill") return selected;
  if (act === "continue" && before) return [before.bars.at(-1).number + 1, tune.bars.at(-1).number];
  return undefined;
}

async function versionOf({ files, index, ...facts }, { seed, unknown }, how) {
  const file = fromBase64(files.midi, "audio/midi");
  const abc = files.abc && (await fromBase64(files.abc, "text/plain").text());
  const url = URL.createObjectURL(fromBase64(files.mp3, "audio/mpeg"));
  const tune = readMidi(new Uint8Array(await file.arrayBuffer()));
  const harmonised = how.act === "harmonise" || how.fields.harmonise === true;
  return { id: newId(), ...how, index, file, midi: file, abc, url, tune, facts, seed: String(seed), harmonised, unknown };
}

/** Forms in which a version can be saved, and the endings of their files. */
export const FORMS = { midi: "mid", abc: "abc", mp3: "mp3", wav: "wav", flac: "flac", png: "png" };
const TYPES = { abc: "text/vnd.abc", mp3: "audio/mpeg", wav: "audio/wav", flac: "audio/flac", png: "image/png" };

/**
 * The labelled file of a version. Notes are here; a sound that is handed on says in tones that it is AI-generated, so it
 * is asked for again: the same seed gives the same tune.
 * @param {Piece} piece @param {Version} version @param {keyof typeof FORMS} form
 * @returns {Promise<Blob>} throws ApiError
 */
export async function fileOf({ model }, version, form) {
  if (form === "midi") return version.midi;
  if (form === "abc" && version.abc) return new Blob([version.abc], { type: TYPES.abc });
  const run = { abort: new AbortController(), phase: signal("waiting"), started: performance.now() };
  const sent = { ...version.fields, seed: Number(version.seed), label: "audible", response_format: [form] };
  for await (const answer of patient(run, "/v1/audio/music", body(model, sent, version.base), () => undefined)) {
    return fromBase64(answer.data[version.index].files[form], TYPES[form]);
  }
  throw new ApiError("cut", "");
}
