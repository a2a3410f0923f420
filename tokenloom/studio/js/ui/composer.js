/** The box to write in. Enter sends, but never in the middle of composing a character. */
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib.js";
import { t } from "../i18n.js";
import { runs, stop } from "../chat.js";
import { narrow } from "../state.js";
import { Icon, Stop } from "./icons.js";

/** Unsent text by conversation, so that looking at another chat loses nothing. */
const unsent = new Map();

/** True while an input method is at work: keyCode 229 is how Safari says it on the Enter that ends it. */
export const composing = (event) => event.isComposing || event.keyCode === 229;

/** Makes a text field as high as its text, up to what its style allows. */
export function fit(area) {
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + area.offsetHeight - area.clientHeight}px`;
}

/** @param {{conversation: import("../store.js").Conversation, ask: (text: string) => boolean}} props */
export function Composer({ conversation, ask }) {
  const { id } = conversation;
  const area = useRef(null);
  const [text, setText] = useState(unsent.get(id) ?? "");
  const busy = runs.value.has(id);
  useLayoutEffect(() => fit(area.current), [text]);
  useEffect(() => {
    if (!narrow.value) area.current.focus({ preventScroll: true });
  }, []);
  const write = (value) => {
    unsent.set(id, value);
    setText(value);
  };
  const submit = (event) => {
    event.preventDefault();
    if (busy || !text.trim()) return;
    if (ask(text)) write("");
    area.current?.focus();
  };
  const key = (event) => {
    if (composing(event)) return;
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) submit(event);
    if (event.key === "ArrowUp" && text === "") editLast(event);
  };
  return html`<div class="composer">
    <form onSubmit=${submit}>
      <label class="unseen" for="composer">${t("composer.label")}</label>
      <textarea
        id="composer"
        ref=${area}
        rows="1"
        dir="auto"
        enterkeyhint="send"
        placeholder=${t("composer.placeholder")}
        aria-describedby="composer-hint"
        value=${text}
        onInput=${(event) => write(event.target.value)}
        onKeyDown=${key}
      ></textarea>
      ${busy
        ? html`<button type="button" class="go stop" aria-label=${t("composer.stop")} title=${t("composer.stop")} onClick=${() => stop(id)}>
            <${Stop} />
          </button>`
        : html`<button type="submit" class="go" aria-label=${t("composer.send")} title=${t("composer.send")} disabled=${!text.trim()}>
            <${Icon} name="send" />
          </button>`}
    </form>
    <p class="under">
      <span class="notice">${t("label.notice")}</span>
      <span class="hint" id="composer-hint">${t("composer.hint")}</span>
    </p>
  </div>`;
}

/** Up in an empty box edits the last message, as in a shell. */
function editLast(event) {
  const edits = document.querySelectorAll("button.edit");
  if (edits.length === 0) return;
  event.preventDefault();
  edits[edits.length - 1].click();
}
