/** The page: sidebar, conversation, task, drawing, tunes or speech, and what lies above them. Everything it shows comes from signals. */
import { html, render, useEffect, effect } from "./lib.js";
import { t } from "./i18n.js";
import { ended, runs, leave, stop } from "./chat.js";
import { stopDrawing } from "./draw.js";
import { stopComposing } from "./music.js";
import { stopSound } from "./speech.js";
import { followOtherTabs, open } from "./store.js";
import { menuOpen, narrow, route, say, spoken, start, tasks, toast } from "./state.js";
import { Compose } from "./ui/compose.js";
import { Conversation } from "./ui/conversation.js";
import { Draw } from "./ui/draw.js";
import { Drawer, KeyDialog, NameDialog } from "./ui/dialogs.js";
import { Settings } from "./ui/settings.js";
import { Sidebar } from "./ui/sidebar.js";
import { Sound } from "./ui/sound.js";
import { Task, titleOf } from "./ui/task.js";

/** The pages that are neither a chat nor a task's form: what they show, and how their work is stopped. */
const PAGES = {
  draw: { shows: Draw, stop: stopDrawing },
  compose: { shows: Compose, stop: stopComposing },
  sound: { shows: Sound, stop: stopSound },
};

function App() {
  const { view, id } = route.value;
  const task = tasks.value.find((one) => one.name === id);
  const name = PAGES[view] ? t(`${view}.title`) : view === "task" ? titleOf(task, id) : open.value.title;
  useEffect(() => {
    document.title = name ? `${name} · Tokenloom` : "Tokenloom";
  }, [name]);
  return html`
    <a class="skip" href="#composer" onClick=${skip}>${t("nav.skip")}</a>
    <div class="page">
      ${narrow.value
        ? html`<${Drawer} side="left" label=${t("nav.label")} shown=${menuOpen}><${Sidebar} /><//>`
        : html`<${Sidebar} />`}
      ${PAGES[view]
        ? html`<${PAGES[view].shows} />`
        : view === "task"
          ? html`<${Task} key=${id} />`
          : html`<${Conversation} />`}
    </div>
    <${Settings} />
    <${KeyDialog} />
    <${NameDialog} />
    <${Toast} />
    <${Spoken} />
  `;
}

function skip(event) {
  event.preventDefault();
  document.querySelector("#composer, .task-in form textarea, main input, main textarea")?.focus();
}

/** Says once what happened, with a way back where there is one. */
function Toast() {
  const now = toast.value;
  return html`<div class="toasts" role="status">
    ${now &&
    html`<div class="toast">
      <span>${now.text}</span>
      ${now.undo &&
      html`<button
        type="button"
        onClick=${() => {
          now.undo();
          toast.value = null;
        }}
      >
        ${t("chat.undo")}
      </button>`}
    </div>`}
  </div>`;
}

/** The live region: the finished answer, in one polite announcement; pieces would interrupt each other. */
function Spoken() {
  return html`<div class="unseen" role="status" aria-live="polite">${spoken.value}</div>`;
}

function keys(event) {
  if (event.defaultPrevented || event.isComposing) return;
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
    const page = PAGES[route.value.view];
    if (page) page.stop();
    else stop(open.value.id);
  }
  const typing = /^(?:INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) skip(event);
}

function fault(text) {
  say(t("error.page", { text }));
}

function tell() {
  let told = null;
  let waiting = 0;
  effect(() => {
    const running = runs.value.size;
    const last = ended.value;
    if (last && last.id !== told) {
      told = last.id;
      const text = last.text.replace(/[`*_#>|]+/g, "").slice(0, 1500);
      spoken.value = last.finish === "stopped" ? t("live.stopped") : t("live.done", { text });
    } else if (running > waiting) {
      spoken.value = t("live.waiting");
    }
    waiting = running;
  });
}

start();
followOtherTabs((id) => runs.peek().has(id));
tell();
window.addEventListener("keydown", keys);
window.addEventListener("pagehide", leave);
window.addEventListener("error", (event) => fault(event.message));
window.addEventListener("unhandledrejection", (event) => fault(String(event.reason?.message ?? event.reason)));
render(html`<${App} />`, document.getElementById("app"));
