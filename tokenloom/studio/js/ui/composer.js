/** The box to write in. Enter sends, but never in the middle of composing a character. */
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib.js";
import { t } from "../i18n.js";
import { ApiError } from "../api.js";
import { runs, stop } from "../chat.js";
import { canRecord } from "../record.js";
import { beginRecording, dictated, endRecording, recording, sounds, stopSound } from "../speech.js";
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
  const [trouble, setTrouble] = useState("");
  const busy = runs.value.has(id);
  useLayoutEffect(() => fit(area.current), [text]);
  useEffect(() => {
    if (!narrow.value) area.current.focus({ preventScroll: true });
  }, []);
  const write = (value) => {
    unsent.set(id, value);
    setText(value);
  };
  const put = (said) => {
    const before = area.current.value;
    write(before && !/\s$/.test(before) ? `${before} ${said}` : before + said);
    area.current.focus();
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
      ${sounds.value && canRecord() && html`<${Dictation} put=${put} tell=${setTrouble} />`}
      ${busy
        ? html`<button type="button" class="go stop" aria-label=${t("composer.stop")} title=${t("composer.stop")} onClick=${() => stop(id)}>
            <${Stop} />
          </button>`
        : html`<button type="submit" class="go" aria-label=${t("composer.send")} title=${t("composer.send")} disabled=${!text.trim()}>
            <${Icon} name="send" />
          </button>`}
    </form>
    ${trouble && html`<p class="wrong trouble" role="alert">${trouble}</p>`}
    <p class="under">
      <span class="notice">${t("label.notice")}</span>
      <span class="hint" id="composer-hint">${t("composer.hint")}</span>
    </p>
  </div>`;
}

/** Speech instead of typing: what is said is written into the box, to be read and sent. */
function Dictation({ put, tell }) {
  const [waiting, setWaiting] = useState(null);
  useEffect(() => () => recording.value && stopSound(), []);
  const end = async () => {
    const abort = new AbortController();
    setWaiting(abort);
    try {
      const said = await dictated(await endRecording(), abort.signal);
      if (said) put(said);
      else tell(t("sound.nothing"));
    } catch (error) {
      if (error instanceof ApiError) tell(error.message || t(`error.${error.kind}`, { status: error.status ?? "" }));
      else if (error.name !== "AbortError") throw error;
    } finally {
      setWaiting(null);
    }
  };
  const press = async () => {
    tell("");
    if (waiting) waiting.abort();
    else if (recording.value) await end();
    else await beginRecording();
  };
  const name = t(waiting ? "mic.waiting" : recording.value ? "mic.end" : "mic.dictate");
  const states = ["bare", "mic", waiting && "saving", recording.value && "on"].filter(Boolean);
  return html`<button type="button" class=${states.join(" ")} aria-label=${name} title=${name} aria-pressed=${recording.value ? "true" : "false"} onClick=${press}>
    <${Icon} name="mic" />
  </button>`;
}

/** Up in an empty box edits the last message, as in a shell. */
function editLast(event) {
  const edits = document.querySelectorAll("button.edit");
  if (edits.length === 0) return;
  event.preventDefault();
  edits[edits.length - 1].click();
}
