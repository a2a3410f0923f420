/** The way around: a new chat, the kept chats, the tasks, and how the page looks and speaks. */
import { html } from "../lib.js";
import { lang, pick, speak, t } from "../i18n.js";
import { forgetKey, key } from "../api.js";
import { runs, stop } from "../chat.js";
import { drawing } from "../draw.js";
import { underWay } from "../music.js";
import { working } from "../speech.js";
import { conversations, remove } from "../store.js";
import { engine, go, menuOpen, narrow, nextTheme, route, say, tasks, theme } from "../state.js";
import { Icon } from "./icons.js";

const follow = (hash) => (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button > 0) return;
  event.preventDefault();
  go(hash);
};

export function Sidebar() {
  return html`<nav class="side" aria-label=${t("nav.label")}>
    <div class="brand">
      <img src="./logo.svg" alt="" width="30" height="30" />
      <span class="wordmark">Tokenloom</span>
      ${narrow.value &&
      html`<button type="button" class="bare" aria-label=${t("nav.close")} onClick=${() => (menuOpen.value = false)}>
        <${Icon} name="close" />
      </button>`}
    </div>
    <a class="new" href="./" onClick=${newChat}><${Icon} name="plus" />${t("nav.new")}</a>
    <div class="side-lists">
      <${Tasks} />
      <h2>${t("nav.chats")}</h2>
      ${conversations.value.length === 0
        ? html`<p class="side-note">${t("nav.none")}</p>`
        : html`<ul>
            ${conversations.value.map((one) => html`<${Entry} key=${one.id} one=${one} />`)}
          </ul>`}
    </div>
    <${Foot} />
  </nav>`;
}

function newChat(event) {
  follow("")(event);
  if (event.defaultPrevented) requestAnimationFrame(() => document.getElementById("composer")?.focus());
}

function Tasks() {
  return html`<h2>${t("nav.tasks")}</h2>
    <ul>
      <${TaskLink} hash="#/draw" title=${t("draw.title")} about=${t("nav.draw")} here=${route.value.view === "draw"} busy=${drawing.value} />
      <${TaskLink} hash="#/compose" title=${t("compose.title")} about=${t("nav.compose")} here=${route.value.view === "compose"} busy=${underWay.value} />
      <${TaskLink} hash="#/sound" title=${t("sound.title")} about=${t("nav.sound")} here=${route.value.view === "sound"} busy=${working.value} />
      ${tasks.value.map(
        ({ name, title, summary }) =>
          html`<${TaskLink}
            key=${name}
            hash=${`#/task/${encodeURIComponent(name)}`}
            title=${pick(title) || name}
            about=${pick(summary)}
            here=${route.value.view === "task" && route.value.id === name}
          />`,
      )}
    </ul>`;
}

function TaskLink({ hash, title, about, here, busy }) {
  const current = here ? "page" : undefined;
  return html`<li>
    <a class="task-link" href=${hash} aria-label=${title} title=${about} aria-current=${current} onClick=${follow(hash)}>
      ${busy && html`<span class="busy" aria-hidden="true"></span>`}
      <span class="name">${title}<small>${about}</small></span>
    </a>
  </li>`;
}

function Entry({ one }) {
  const hash = `#/chat/${one.id}`;
  const here = route.value.view === "chat" && route.value.id === one.id;
  const name = one.title || t("chat.untitled");
  return html`<li>
    <a href=${hash} aria-current=${here ? "page" : undefined} onClick=${follow(hash)}>
      ${runs.value.has(one.id) && html`<span class="busy" aria-hidden="true"></span>`}
      <span class="name">${name}</span>
    </a>
    <button
      type="button"
      class="bare drop"
      aria-label=${t("chat.delete.named", { name })}
      title=${t("chat.delete")}
      onClick=${() => drop(one)}
    >
      <${Icon} name="trash" />
    </button>
  </li>`;
}

/** Deletes a chat at once, with a way back. */
export function drop(one) {
  stop(one.id);
  const here = route.value.view === "chat" && route.value.id === one.id;
  const back = remove(one.id);
  if (here) go("");
  say(t("chat.deleted", { name: one.title || t("chat.untitled") }), () => {
    back();
    if (here) go(`#/chat/${one.id}`);
  });
}

const THEME_ICONS = { system: "half", light: "sun", dark: "moon" };

function Foot() {
  const state = engine.value;
  return html`<div class="side-foot">
    <p class=${`engine ${state}`} role="status"><span class="dot" aria-hidden="true"></span>${t(`health.${state}`)}</p>
    ${key.value &&
    html`<button type="button" class="bare" aria-label=${t("nav.forgetKey")} title=${t("nav.forgetKey")} onClick=${forgetKey}>
      <${Icon} name="key" />
    </button>`}
    <button
      type="button"
      class="bare"
      aria-label=${t("nav.theme", { name: t(`theme.${theme.value}`) })}
      title=${t("nav.theme", { name: t(`theme.${theme.value}`) })}
      onClick=${nextTheme}
    >
      <${Icon} name=${THEME_ICONS[theme.value]} />
    </button>
    <button
      type="button"
      class="bare lang"
      lang=${lang.value === "zh" ? "en" : "zh-CN"}
      aria-label=${t("nav.lang.label")}
      title=${t("nav.lang.label")}
      onClick=${() => speak(lang.value === "zh" ? "en" : "zh")}
    >
      ${t("nav.lang")}
    </button>
  </div>`;
}
