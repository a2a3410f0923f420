/** One message: what was asked, or what was answered with its figures, and what can be done with it. */
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib.js";
import { number, t } from "../i18n.js";
import { aloud, hush, readAnswer } from "../aloud.js";
import { resendFrom, takeOut } from "../chat.js";
import { sounds } from "../speech.js";
import { checkSoon, say } from "../state.js";
import { putBack } from "../store.js";
import { composing, fit } from "./composer.js";
import { Copy, Figures, Progress } from "./bits.js";
import { Icon, Stop } from "./icons.js";
import { Prose } from "./prose.js";

/**
 * @param {{message: import("../store.js").Message, conversation: string, run?: import("../chat.js").Run,
 *   idle: boolean, unsent: boolean}} props idle: nothing is being written in this conversation; unsent: the server
 *   refused it, so it is in no later request
 */
export function Message(props) {
  return props.message.role === "user" ? html`<${Question} ...${props} />` : html`<${Answer} ...${props} />`;
}

/** Answers anew from a message on; dropped messages can be put back. */
function again(conversation, message, text) {
  const old = resendFrom(conversation, message.id, text);
  if (!old) return;
  const at = old.messages.findIndex((one) => one.id === message.id);
  const dropped = old.messages.length - at - (text === undefined ? 1 : 2);
  if (dropped > 0) {
    say(dropped === 1 ? t("chat.cut.one") : t("chat.cut", { n: dropped }), () => putBack(old));
  }
}

function removeMessage(conversation, message) {
  const old = takeOut(conversation, message.id);
  if (old) say(t("message.removed"), () => putBack(old));
}

function Question({ message, conversation, idle, unsent }) {
  const [editing, setEditing] = useState(false);
  if (editing && idle) return html`<${Edit} ...${{ message, conversation, done: () => setEditing(false) }} />`;
  return html`<li class=${unsent ? "turn user unsent" : "turn user"}>
    <span class="unseen">${t("role.user")}</span>
    <div class="said-by-user" dir="auto">${message.text}</div>
    <div class="tools">
      ${unsent && html`<span class="not-sent">${t("message.unsent")}</span>`}
      <${Copy} text=${message.text} />
      ${idle &&
      html`<button type="button" class="bare edit" aria-label=${t("message.edit")} title=${t("message.edit")} onClick=${() => setEditing(true)}>
        <${Icon} name="edit" />${unsent && html`<span>${t("message.edit")}</span>`}
      </button>`}
      ${unsent &&
      idle &&
      html`<button type="button" class="bare" aria-label=${t("message.remove")} title=${t("message.remove")} onClick=${() => removeMessage(conversation, message)}>
        <${Icon} name="trash" /><span>${t("message.remove")}</span>
      </button>`}
    </div>
  </li>`;
}

function Edit({ message, conversation, done }) {
  const area = useRef(null);
  const [text, setText] = useState(message.text);
  useLayoutEffect(() => fit(area.current), [text]);
  useEffect(() => {
    area.current.focus();
    area.current.setSelectionRange(text.length, text.length);
  }, []);
  const submit = (event) => {
    event.preventDefault();
    if (!text.trim()) return;
    done();
    again(conversation, message, text);
    document.getElementById("composer")?.focus();
  };
  const key = (event) => {
    if (composing(event)) return;
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) submit(event);
    if (event.key === "Escape") {
      event.preventDefault();
      done();
      document.getElementById("composer")?.focus();
    }
  };
  return html`<li class="turn user editing">
    <form onSubmit=${submit}>
      <textarea
        ref=${area}
        rows="1"
        dir="auto"
        aria-label=${t("message.edit.label")}
        value=${text}
        onInput=${(event) => setText(event.target.value)}
        onKeyDown=${key}
      ></textarea>
      <div class="actions">
        <button type="button" onClick=${done}>${t("message.cancel")}</button>
        <button type="submit" class="primary" disabled=${!text.trim()}>${t("message.edit.send")}</button>
      </div>
    </form>
  </li>`;
}

function Answer({ message, conversation, run, idle }) {
  const text = run ? run.text.value : message.text;
  const state = run ? run.phase.value : "done";
  const failed = !run && message.error;
  return html`<li class=${`turn answer ${state}`} aria-busy=${run ? "true" : undefined}>
    <p class="by">
      ${!(failed && !text) && html`<span class="label">${t("label.short")}</span>`}
      ${message.model && html`<span class="who">${message.model}</span>`}
      ${run && html`<${Progress} run=${run} text=${t(`message.${state}`)} />`}
    </p>
    <${Prose} text=${text} whole=${!run} />
    ${!run && html`<${Outcome} ...${{ message, conversation, idle }} />`}
    <div class="tools">
      ${!run && message.text && html`<${Copy} text=${message.text} />`}
      ${!run && message.text && sounds.value && html`<${Aloud} message=${message} />`}
      ${!run &&
      idle &&
      !(failed && atFault(message.error)) &&
      html`<button
        type="button"
        class="bare"
        aria-label=${t("message.retry")}
        title=${t("message.retry")}
        onClick=${() => again(conversation, message)}
      >
        <${Icon} name="again" />
      </button>`}
      ${!run && html`<${Figures} message=${message} />`}
    </div>
  </li>`;
}

/** Reads the answer aloud, and stops reading it. */
function Aloud({ message }) {
  useEffect(() => () => aloud.value?.id === message.id && hush(), []); // who leaves the chat no longer hears it
  const phase = aloud.value?.id === message.id ? aloud.value.phase : "";
  const name = t(phase ? "aloud.stop" : "aloud.read");
  const kind = phase === "waiting" ? "bare saving" : "bare";
  return html`<button type="button" class=${kind} aria-label=${name} title=${name} onClick=${() => readAnswer(message.id, message.text)}>
    ${phase ? html`<${Stop} />` : html`<${Icon} name="speaker" />`}
  </button>`;
}

const ENDINGS = {
  stopped: "message.stopped",
  interrupted: "message.interrupted",
  length: "message.length",
  content_filter: "message.filtered",
};

/** The statuses that say that the request itself was wrong: the same request is refused again. */
const WRONG = [400, 413, 415, 422];

const atFault = (error) => error.kind === "refused" && WRONG.includes(error.status);

/** An error with the server's words and what helps: `again` asks once more, `hint` is for a request at fault. */
export function Failure({ error, again: retry, hint }) {
  useEffect(() => {
    if (error.kind === "offline" || error.kind === "cut") checkSoon();
  }, [error]);
  return html`<div class="failure" role="alert">
    <${Icon} name="warn" />
    <div>
      <p>${t(`error.${error.kind}`, { status: error.status ?? "" })}</p>
      ${error.message && html`<p class="said">${error.message}</p>`}
      ${error.retryAfter && html`<p>${t("error.later", { n: number(error.retryAfter) })}</p>`}
      ${hint && atFault(error) && html`<p>${hint}</p>`}
      ${retry && !atFault(error) && error.kind !== "load" && html`<button type="button" onClick=${retry}>${t("error.retry")}</button>`}
    </div>
  </div>`;
}

/** How an answer ended, when it did not simply end; an error with the server's words and a way on. */
function Outcome({ message, conversation, idle }) {
  const { error, finish, text } = message;
  if (error) {
    const retry = idle ? () => again(conversation, message) : undefined;
    return html`<${Failure} error=${error} again=${retry} hint=${t("error.edit")} />`;
  }
  const key = ENDINGS[finish] ?? (text === "" ? "message.empty" : undefined);
  return key ? html`<p class="ending">${t(key)}</p>` : null;
}
