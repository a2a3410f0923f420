/**
 * Drawing: what is typed, what is asked of the server, and the pictures that came of it. One work at a time; all of it
 * lives as long as the page, whichever part of it is on the screen.
 */
import { ApiError } from "./api.js";
import { patient, told, write } from "./chat.js";
import { lang, t } from "./i18n.js";
import { batch, computed, signal } from "./lib.js";
import { keep, kept } from "./keep.js";
import { dataUrl, fromBase64, maskOf, sourceOf } from "./picture.js";
import { painters, pictureTasks, say, spoken } from "./state.js";
import { newId } from "./store.js";

/**
 * @typedef {"draw" | "edit" | "restyle" | "vary" | "describe"} Mode
 *
 * @typedef {object} Picture
 * @property {string} id
 * @property {string} [url] of what is to be seen of it so far
 * @property {boolean} whole
 * @property {Blob} [plain] with the hidden label alone, to be shown beside the words and worked on
 * @property {Blob} [file] with the words on it, to be handed on; where it did not come along, made when it is first saved
 *
 * @typedef {object} Work what was asked for once, and what came of it
 * @property {string} id
 * @property {Mode} mode
 * @property {Record<string, string | number>} asked the fields as they were sent
 * @property {string} model
 * @property {import("./picture.js").Source} [source]
 * @property {import("./picture.js").Stroke[]} [strokes] of the mask
 * @property {Blob} [mask]
 * @property {Picture[]} pictures
 * @property {import("./chat.js").Run} [run] while it is under way
 * @property {string} [words] what the picture shows
 * @property {string} [lang] of the words
 * @property {string} [seed] as the server told it
 * @property {"done" | "stopped" | "error"} [finish]
 * @property {import("./store.js").Failure} [error]
 * @property {number} [took] milliseconds
 */

/** @type {Mode[]} */
export const MODES = ["draw", "edit", "restyle", "vary", "describe"];
/** @type {{value: Mode}} */
export const mode = signal("draw");
/** @type {{value: Record<Mode, Record<string, string>>}} what was typed and chosen, by mode and field */
export const typed = signal({ draw: {}, edit: {}, restyle: {}, vary: {}, describe: {} });
/** @type {{value: import("./picture.js").Source | null}} the picture to work on */
export const source = signal(null);
/** @type {{value: import("./picture.js").Stroke[]}} the mask painted on it */
export const strokes = signal([]);
/** @type {{value: Work[]}} the latest first */
export const works = signal([]);
/** @type {{value: Work | undefined}} the one under way */
export const drawing = computed(() => works.value.find((work) => work.run));

const PAINTER = "tokenloom.painter";
const preferred = signal(kept(PAINTER));
/** The card of the picture model that is asked. */
export const painter = computed(
  () => painters.value.find((one) => one.id === preferred.value) ?? painters.value[0] ?? null,
);

/** Whether it paints by diffusion: such a model has no styles of its own, and other fields. */
const diffuses = computed(() => painter.value?.styles?.length === 0);
/** Width and height of what a diffusion model may draw; models that write codes draw squares. */
const SHAPES = ["512x512", "768x512", "512x768", "768x768", "1024x1024", "1344x768", "768x1344"].map((value) => ({
  value,
  label: { en: value.replace("x", " x "), zh: value.replace("x", " x ") },
}));

/** @param {string} name of a picture model */
export function choosePainter(name) {
  batch(() => {
    preferred.value = name;
    if (fieldsOf(mode.value).length === 0) mode.value = "draw";
  });
  keep(PAINTER, name);
}

/** The fields of a mode that the chosen model takes, as they are declared; none where it cannot do it. */
export function fieldsOf(which) {
  const kind = diffuses.value ? "diffusion" : "codes";
  const declared = pictureTasks.value.get(which)?.fields ?? [];
  const fields = declared.filter((field) => !field.of || field.of === kind);
  if (which === "vary" || !diffuses.value) return fields;
  return which === "describe" ? [] : fields.filter((field) => field.name !== "mask").map(ofDiffusion);
}

/** A diffusion model takes any words for a style, and other shapes than squares. */
function ofDiffusion(field) {
  if (field.name === "style") return { ...field, type: "text", choices: undefined };
  return field.name === "size" ? { ...field, choices: SHAPES } : field;
}

/** @param {Mode} which @param {string} name @param {string} value */
export function type(which, name, value) {
  typed.value = { ...typed.value, [which]: { ...typed.value[which], [name]: value } };
}

/** @param {string} id @param {(old: Work) => Work} next */
function changeWork(id, next) {
  works.value = works.value.map((work) => (work.id === id ? next(work) : work));
}

/** Takes a work out of the list. @returns {() => void} puts it back */
export function removeWork(id) {
  const old = works.value;
  const at = old.findIndex((work) => work.id === id);
  works.value = old.filter((work) => work.id !== id);
  return () => (works.value = [...works.value.slice(0, at), old[at], ...works.value.slice(at)]);
}

/** Ends the work under way; what is whole of it stays. */
export function stopDrawing() {
  drawing.value?.run.abort.abort();
}

/** Takes a file to work on. @param {Blob} file @param {string} name */
export async function take(file, name) {
  const found = await sourceOf(file, name, newId());
  if (found === null) {
    say(t("draw.unreadable", { name }));
    return;
  }
  batch(() => {
    source.value = found;
    strokes.value = [];
    if (mode.value === "draw") mode.value = "edit";
  });
}

/** Takes a drawn picture to work on. @param {Mode} to @param {Work} work @param {Picture} picture */
export async function workOn(to, work, picture) {
  await take(picture.plain, nameOf(work));
  mode.value = to;
}

/** What a work is called. @param {Work} work */
export function nameOf(work) {
  return work.asked.prompt || work.source?.name || t(`draw.mode.${work.mode}`);
}

/** Puts a work's settings back into the form. @param {Work} work */
export function useAgain(work) {
  const { asked, seed } = work;
  const values = Object.fromEntries(Object.entries(asked).map(([name, value]) => [name, String(value)]));
  batch(() => {
    mode.value = work.mode;
    if (work.source) {
      if (work.strokes || source.value?.id !== work.source.id) strokes.value = work.strokes ?? [];
      source.value = work.source;
    }
    typed.value = { ...typed.value, [work.mode]: { ...values, ...(seed ? { seed } : {}) } };
  });
}

/** So many pictures of each drawing under way, fewer where many are drawn at once. */
const partials = (n) => Math.max(2, Math.min(16, Math.floor(48 / n)));

/**
 * The request of a drawing.
 * @param {Work} work @param {Record<string, string | number | boolean>} how the rest of the fields
 * @returns {[string, object | FormData]} path and body
 */
function request({ model, asked, mode: which, source: from, mask }, how) {
  const fields = { model, ...asked, lang: lang.value, ...how };
  if (which === "draw") return ["/v1/images/generations", fields];
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, String(value));
  form.append("image", from.file, "image.png");
  if (mask) form.append("mask", mask, "mask.png");
  return [which === "vary" ? "/v1/images/variations" : "/v1/images/edits", form];
}

/** Takes an event, or a whole answer, into a work. */
function shown(work, event) {
  const pictures = [...work.pictures];
  const type = `image/${event.output_format ?? "png"}`;
  for (const one of event.data ?? [event]) {
    const at = one.index ?? 0;
    if (!pictures[at] || !one.b64_json) continue;
    if (one.partial_image_index !== undefined) {
      pictures[at] = { ...pictures[at], url: `data:${type};base64,${one.b64_json}` };
      continue;
    }
    const plain = fromBase64(one.plain_b64_json ?? one.b64_json, type);
    const file = one.plain_b64_json && fromBase64(one.b64_json, type);
    pictures[at] = { ...pictures[at], url: URL.createObjectURL(plain), whole: true, plain, file };
  }
  return { ...work, pictures };
}

/**
 * Does what the form asks for. Resolves when it has ended, however it ended.
 * @param {Record<string, string | number>} asked the fields that were filled in
 * @param {string} [tongue] of a description
 */
export async function perform(asked, tongue) {
  if (drawing.value || !painter.value) return;
  const which = mode.value;
  const run = {
    abort: new AbortController(),
    text: signal(""),
    phase: signal("waiting"),
    started: performance.now(),
  };
  const empty = (_, at) => ({ id: `${at}`, whole: false });
  /** @type {Work} */
  const work = {
    id: newId(),
    mode: which,
    asked,
    model: painter.value.id,
    source: which === "draw" ? undefined : source.value,
    pictures: which === "describe" ? [] : Array.from({ length: Number(asked.n ?? 1) }, empty),
    strokes: which === "edit" ? strokes.value : undefined,
    lang: tongue,
    run,
  };
  works.value = [work, ...works.value];
  spoken.value = t(which === "describe" ? "draw.waiting" : "draw.live.begun");
  if (which === "describe") await describe(work);
  else if (work.strokes?.length) await draw({ ...work, mask: await maskOf(work.source, work.strokes) });
  else await draw(work);
}

/** @param {Work} work @param {Partial<Work>} part */
function end({ id, run, mask }, part) {
  changeWork(id, (old) => ({ ...old, ...part, mask, run: undefined, took: performance.now() - run.started }));
}

async function draw(work) {
  const { id, run, pictures } = work;
  // Where candidates are compared none is under way that can be shown.
  const compared = work.asked.best_of === undefined ? work.mode === "restyle" : Number(work.asked.best_of) > 1;
  const early = compared ? {} : { partial_images: partials(pictures.length) };
  const [path, body] = request(work, { label: "both", stream: true, ...early });
  let seed;
  let finish = "done";
  let error;
  try {
    for await (const event of patient(run, path, body, (headers) => (seed = headers.get("x-tokenloom-seed")))) {
      run.phase.value = "drawing";
      changeWork(id, (old) => shown(old, event));
    }
  } catch (failure) {
    if (failure.name === "AbortError") finish = "stopped";
    else if (failure instanceof ApiError) [finish, error] = ["error", told(failure)];
    else throw failure;
  } finally {
    end(work, { finish, error, seed: seed ?? undefined });
  }
  const whole = works.value.find((one) => one.id === id)?.pictures.filter((one) => one.whole).length ?? 0;
  if (finish === "done") spoken.value = t(whole === 1 ? "draw.live.done.one" : "draw.live.done", { n: whole });
  if (finish === "stopped") spoken.value = t("live.stopped");
}

/**
 * The file of a picture as it is handed on: the server writes the label's words onto it. Where it came without one, as
 * from another server, the same pictures are asked for again, for the same seed draws the same.
 * @param {Work} work @param {Picture} picture
 * @returns {Promise<Blob>} throws ApiError
 */
export async function fileOf(work, picture) {
  if (picture.file) return picture.file;
  const run = { abort: new AbortController(), phase: signal("waiting"), started: performance.now() };
  const [path, body] = request({ ...work, asked: { ...work.asked, seed: Number(work.seed) } }, { label: "visible" });
  for await (const event of patient(run, path, body, () => undefined)) {
    const type = `image/${event.output_format ?? "png"}`;
    const files = new Map(event.data.map((one, at) => [one.index ?? at, fromBase64(one.b64_json, type)]));
    const pictures = work.pictures.map((one, at) => ({ ...one, file: files.get(at) }));
    changeWork(work.id, (old) => ({ ...old, pictures }));
    return files.get(work.pictures.indexOf(picture));
  }
  throw new ApiError("cut", "");
}

async function describe(work) {
  const { n: _, ...fields } = work.asked;
  const body = {
    model: work.model,
    fields: { ...fields, image: await dataUrl(work.source.file) },
    lang: work.lang,
    stream: true,
  };
  const { text, finish, error, seed } = await write(work.run, "/v1/tasks/describe", body);
  end(work, { words: text, finish: error ? "error" : finish === "stopped" ? "stopped" : "done", error, seed });
  if (!error) spoken.value = t("live.done", { text });
}
