/** What the whole page knows: where it is, whether the engine answers, which models and tasks there are. */
import { ApiError, health, listModels, listTasks, unanswered } from "./api.js";
import { batch, computed, effect, signal } from "./lib.js";
import { keep, kept } from "./keep.js";
import { changeSettings, find, open, openId, startDraft, suggest } from "./store.js";

/** {view: "chat" | "task" | "draw" | "compose" | "sound", id: string}; the address's hash is the truth. */
export const route = signal(readRoute());
/** "checking" | "ok" | "starting" | "offline" */
export const engine = signal("checking");
/** null until the server has told. */
export const models = signal(null);
export const tasks = signal([]);
/** The declared tasks of pictures, which the drawing page does, by name. */
export const pictureTasks = signal(new Map());
/** The declared tasks of music and speech, which pages of their own do, by name. */
export const soundTasks = signal(new Map());
/** The server wants a key and the person gave none. */
export const locked = signal(false);
/** "system" | "light" | "dark" */
export const theme = signal(["light", "dark"].includes(kept("tokenloom.theme")) ? kept("tokenloom.theme") : "system");
/** Phone width: the sidebar is a drawer. */
export const narrow = signal(false);
export const menuOpen = signal(false);
export const settingsOpen = signal(false);
/** The conversation that is being given another name, or null. */
export const renaming = signal(null);
/** A short message with an optional way back: {text, undo?} or null. */
export const toast = signal(null);
/** What a screen reader is told politely. */
export const spoken = signal("");

let toastTimer = 0;

/** @param {string} text @param {() => void} [undo] */
export function say(text, undo) {
  clearTimeout(toastTimer);
  toast.value = { text, undo };
  toastTimer = setTimeout(() => (toast.value = null), undo ? 10_000 : 4000);
}

function readRoute() {
  const page = /^#\/(draw|compose|sound)$/.exec(location.hash);
  if (page) return { view: page[1], id: "" };
  const found = /^#\/(chat|task)\/([^/]+)$/.exec(location.hash);
  if (!found) return { view: "chat", id: "" };
  try {
    return { view: found[1], id: decodeURIComponent(found[2]) };
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    return { view: "chat", id: "" };
  }
}

/** @param {string} hash "" is a new chat */
export function go(hash) {
  menuOpen.value = false;
  if (hash === "") startDraft();
  history.pushState(null, "", hash || location.pathname + location.search);
  follow();
}

/** Puts an address in place without a step in the history: a draft that became a conversation. */
export function replaceAddress(hash) {
  history.replaceState(null, "", hash);
  follow();
}

function follow() {
  const next = readRoute();
  batch(() => {
    route.value = next;
    openId.value = next.view === "chat" ? next.id : "";
  });
}

const thin = matchMedia("(max-width: 800px)");
const dark = matchMedia("(prefers-color-scheme: dark)");
const systemDark = signal(dark.matches);

/** Starts following the address, the width, the theme and the engine. */
export function start() {
  follow();
  window.addEventListener("popstate", follow);
  window.addEventListener("hashchange", follow);
  narrow.value = thin.matches;
  thin.addEventListener("change", () => {
    narrow.value = thin.matches;
    menuOpen.value = false;
  });
  dark.addEventListener("change", () => (systemDark.value = dark.matches));
  effect(() => {
    const system = systemDark.value ? "dark" : "light";
    document.documentElement.dataset.theme = theme.value === "system" ? system : theme.value;
  });
  effect(() => {
    if (unanswered.value === 0) return;
    engine.value = "offline";
    wake();
  });
  void watch();
}

/** system, light, dark, and round again */
export function nextTheme() {
  theme.value = { system: "light", light: "dark", dark: "system" }[theme.value];
  keep("tokenloom.theme", theme.value === "system" ? null : theme.value);
}

const CALM_MS = 5_000;
const ANXIOUS_MS = 2_500;
let wake = () => undefined;

/** Asks for the engine's health for as long as the page is looked at: more often when it is gone. */
async function watch() {
  document.addEventListener("visibilitychange", () => document.hidden || wake());
  for (;;) {
    if (!document.hidden) await check();
    await new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, engine.value === "ok" && models.value ? CALM_MS : ANXIOUS_MS);
    });
  }
}

/** Called when a request finds nobody there, so that the banner does not wait for its turn. */
export function checkSoon() {
  wake();
}

async function check() {
  const before = engine.value;
  engine.value = await health();
  const news = engine.value === "ok" && before !== "ok";
  // Without a model for what is on the screen, whoever fetches one need not open the page anew.
  const able = { draw: painters, compose: composers }[route.value.view] ?? talkers;
  const lacking = models.value === null || (able.value.length === 0 && !locked.value);
  if (engine.value !== "offline" && (news || lacking)) await discover();
}

/** Learns the models and tasks. A failure leaves what was known; the watch tries again. */
export async function discover() {
  try {
    const [found, declared] = await Promise.all([listModels(), listTasks()]);
    batch(() => {
      locked.value = false;
      models.value = found;
      tasks.value = declared.filter((task) => task.name !== "chat" && !ofPictures(task) && !ofSound(task));
      pictureTasks.value = new Map(declared.filter(ofPictures).map((task) => [task.name, task]));
      soundTasks.value = new Map(declared.filter(ofSound).map((task) => [task.name, task]));
      suggest(startingPoint(declared.find((task) => task.name === "chat")));
    });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.kind !== "auth") return;
    locked.value = true;
    models.value ??= [];
  }
}

const ofPictures = (task) => task.kind === "picture" || task.kind === "caption";
const ofSound = (task) => task.kind === "music" || task.kind === "speech";

const SUGGESTED = ["temperature", "top_p", "top_k", "max_tokens"];

/** The sampling values among the fields of the declared chat. */
function startingPoint(chat) {
  const fields = (chat?.fields ?? []).filter((field) => SUGGESTED.includes(field.name));
  return Object.fromEntries(fields.filter((f) => typeof f.default === "number").map((f) => [f.name, f.default]));
}

/** The names of models that are made for one task. */
const bound = computed(() => new Set(tasks.value.map((task) => task.model)));
/** The models that draw. */
export const painters = computed(() => (models.value ?? []).filter((one) => one.kind === "picture"));
/** The models that compose. */
export const composers = computed(() => (models.value ?? []).filter((one) => one.kind === "music"));
/** A model of words, as far as the server tells. */
const writes = (one) => one === undefined || one.kind === undefined || one.kind === "text";
/** The models of words that are bound to no task, and those of them that can chat, as far as the server knows it. */
export const general = computed(() => (models.value ?? []).filter((one) => !bound.value.has(one.id) && writes(one)));
export const talkers = computed(() => general.value.filter((one) => one.chat !== false));

/** The model chosen for a conversation, unless it cannot chat; else the first that can. "" if there is none. */
function talkerOf(conversation) {
  const chosen = conversation?.settings.model;
  const told = models.value?.find((one) => one.id === chosen);
  const able = chosen && !bound.value.has(chosen) && told?.chat !== false && writes(told);
  return able ? chosen : (talkers.value[0]?.id ?? "");
}

/** The model that the open chat asks. */
export const model = computed(() => talkerOf(open.value));
/** The model of a task that has none of its own; it need not be able to chat. */
export const writer = computed(() => {
  const chosen = open.value.settings.model;
  if (chosen && !bound.value.has(chosen)) return chosen;
  return model.value || (general.value[0]?.id ?? "");
});

/** Writes the default choice into a chat before it is first sent. @returns {string} the model, "" if there is none */
export function settleModel(id) {
  const conversation = find(id);
  const chosen = talkerOf(conversation);
  if (conversation && conversation.settings.model !== chosen && chosen) changeSettings(id, { model: chosen });
  return chosen;
}
