/** One conversation: its head, its messages, the box to write in. */
import { html, signal, useEffect, useLayoutEffect, useRef, useState } from "../lib.js";
import { lang, t } from "../i18n.js";
import { refused, runs, send } from "../chat.js";
import { open } from "../store.js";
import { download, fileName, toJson, toMarkdown } from "../export.js";
import { discover, engine, locked, model, models, renaming, replaceAddress, route, say, settingsOpen, settleModel } from "../state.js";
import { Banner } from "./banner.js";
import { MenuButton } from "./bits.js";
import { Composer } from "./composer.js";
import { Icon, Weave } from "./icons.js";
import { Message } from "./message.js";
import { ModelChoice } from "./model.js";
import { drop } from "./sidebar.js";

export function Conversation() {
  const conversation = open.value;
  return html`<main class="chat">
    <${Head} conversation=${conversation} />
    <${Banner} />
    ${conversation.messages.length === 0
      ? html`<${Empty} />`
      : html`<${Messages} key=${conversation.id} conversation=${conversation} />`}
    <${Composer} key=${`box-${conversation.id}`} conversation=${conversation} ask=${ask} />
  </main>`;
}

/** Sends what was written. @returns {boolean} false when there is no model to ask */
export function ask(text) {
  const { id } = open.value;
  if (!settleModel(id)) {
    if (locked.value) void discover();
    else say(t(models.value === null ? "error.noModel" : "model.empty"));
    return false;
  }
  const done = send(id, text);
  if (route.value.id !== id) replaceAddress(`#/chat/${id}`);
  void done;
  return true;
}

function Head({ conversation }) {
  return html`<header class="head">
    <${MenuButton} />
    <h1 class="unseen">${t("chat.title", { name: conversation.title || t("chat.untitled") })}</h1>
    <${ModelChoice} conversation=${conversation} />
    <span class="grow"></span>
    <button
      type="button"
      class="bare wide"
      aria-haspopup="dialog"
      aria-label=${t("chat.settings")}
      onClick=${() => (settingsOpen.value = true)}
    >
      <${Icon} name="sliders" /><span>${t("chat.settings")}</span>
    </button>
    ${conversation.messages.length > 0 && html`<${More} conversation=${conversation} />`}
  </header>`;
}

/** The menu of what is rarely done: a <details>, closed by a choice, by Esc and by leaving it. */
function More({ conversation }) {
  const ref = useRef(null);
  const label = t("label.short");
  const names = { user: t("role.user"), assistant: t("role.assistant"), system: t("settings.system"), label };
  const close = () => ref.current.removeAttribute("open");
  const choose = (act) => () => {
    close();
    act();
  };
  const rename = () => (renaming.value = conversation);
  const saveAs = (ending, text, type) => download(fileName(conversation.title, ending), text, type);
  const items = [
    ["edit", "chat.rename", rename],
    ["down", "chat.export.md", async () => saveAs("md", await toMarkdown(conversation, names), "text/markdown")],
    ["down", "chat.export.json", async () => saveAs("json", await toJson(conversation, label), "application/json")],
    ["trash", "chat.delete", () => drop(conversation)],
  ];
  const leave = (event) => ref.current.contains(event.relatedTarget) || close();
  const esc = (event) => {
    if (event.key !== "Escape" || !ref.current.open) return;
    event.preventDefault();
    close();
    ref.current.querySelector("summary").focus();
  };
  return html`<details class="menu" ref=${ref} onFocusOut=${leave} onKeyDown=${esc}>
    <summary class="bare" aria-label=${t("chat.more")} title=${t("chat.more")}><${Icon} name="more" /></summary>
    <ul tabindex="-1">
      ${items.map(
        ([icon, key, act]) =>
          html`<li key=${key}>
            <button type="button" onClick=${choose(act)}><${Icon} name=${icon} />${t(key)}</button>
          </li>`,
      )}
    </ul>
  </details>`;
}

const EXAMPLES = [1, 2, 3, 4];
const LOOPBACK = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/** Where the words go: said only as far as this page can know it. */
function whereTo() {
  if (locked.value) return t("error.auth");
  if (models.value !== null && !model.value) return t("model.empty");
  const chosen = models.value?.find((one) => one.id === model.value);
  const here = LOOPBACK.test(location.hostname) && chosen?.owned_by === "tokenloom";
  return here ? t("empty.here") : t("empty.server", { host: location.host });
}

/** The embedded model speaks English only: it is said, and its examples are in English. */
function Empty() {
  const small = /smollm2/i.test(model.value);
  const tongue = small ? "en" : lang.value;
  const example = (n) => t(`example.${n}.text`, {}, tongue);
  const settled = models.value !== null || engine.value !== "checking";
  return html`<div class=${settled ? "empty" : "empty unsettled"}>
    <div class="empty-in">
      <${Weave} />
      <p class="greeting">${t("empty.title")}</p>
      <p class="lead">${whereTo()}</p>
      ${small && html`<p class="small-print">${t("empty.small")}</p>`}
      <h2 class="unseen">${t("empty.try")}</h2>
      <ul class="examples" lang=${tongue === "en" ? "en" : undefined}>
        ${EXAMPLES.map(
          (n) =>
            html`<li key=${n}>
              <button type="button" onClick=${() => ask(example(n))}>
                <span class="example-title" lang=${lang.value === "zh" ? "zh-CN" : "en"}>${t(`example.${n}.title`)}</span>
                <span>${example(n)}</span>
                <${Icon} name="send" />
              </button>
            </li>`,
        )}
      </ul>
    </div>
  </div>`;
}

/** How near the end counts as reading along, in pixels. */
const NEAR = 40;

/** The messages. While the reader is at the end the view follows the text; once they scroll up, it stays put. */
function Messages({ conversation }) {
  const box = useRef(null);
  const [away] = useState(() => signal(false));
  const following = useRef(true);
  const run = runs.value.get(conversation.id);
  const toEnd = () => {
    following.current = true;
    away.value = false;
    box.current.scrollTop = box.current.scrollHeight;
  };
  useEffect(() => {
    const view = box.current;
    let last = view.scrollTop;
    const scrolled = () => {
      const gap = view.scrollHeight - view.clientHeight - view.scrollTop;
      if (view.scrollTop < last - 1 && gap > 2) following.current = false;
      if (gap < NEAR && view.scrollTop >= last) following.current = true;
      away.value = !following.current && gap > NEAR;
      last = view.scrollTop;
    };
    view.addEventListener("scroll", scrolled, { passive: true });
    const size = new ResizeObserver(() => following.current && (view.scrollTop = view.scrollHeight));
    size.observe(view);
    size.observe(view.firstElementChild);
    return () => {
      view.removeEventListener("scroll", scrolled);
      size.disconnect();
    };
  }, []);
  useLayoutEffect(toEnd, [conversation.messages.length]);
  const system = conversation.settings.system.trim();
  return html`<div class="messages-wrap">
    <div class="messages" ref=${box} tabindex="0" role="region" aria-label=${t("chat.messages")}>
      <ol class="thread">
        ${system && html`<li class="system" title=${system}>${t("chat.system", { text: system })}</li>`}
        ${conversation.messages.map(
          (message, at) =>
            html`<${Message}
              key=${message.id}
              message=${message}
              conversation=${conversation.id}
              run=${run?.message === message.id ? run : undefined}
              idle=${!run}
              unsent=${refused(conversation.messages, at)}
            />`,
        )}
      </ol>
    </div>
    ${away.value &&
    html`<button type="button" class="latest" onClick=${toEnd}><${Icon} name="down" />${t("chat.latest")}</button>`}
  </div>`;
}

