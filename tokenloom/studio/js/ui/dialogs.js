/** Dialogs and drawers on the browser's own <dialog>: it traps focus, closes on Esc and makes the rest inert. */
import { html, useEffect, useRef, useState } from "../lib.js";
import { t } from "../i18n.js";
import { keyRequest } from "../api.js";
import { change } from "../store.js";
import { renaming } from "../state.js";
import { Icon } from "./icons.js";

/**
 * A dialog that follows a signal. A click on the backdrop closes it.
 * @param {{shown: {value: boolean}, label: string, side: "left" | "right" | "centre", children: any,
 *   hold?: () => boolean}} props hold: true keeps it open
 */
export function Drawer({ shown, label, side, children, hold = () => false }) {
  const ref = useRef(null);
  const on = shown.value;
  useEffect(() => {
    const dialog = ref.current;
    if (on && !dialog.open) dialog.showModal();
    if (!on && dialog.open) dialog.close();
  }, [on]);
  const close = () => hold() || (shown.value = false);
  const stay = (event) => hold() && event.preventDefault();
  // A browser may insist on closing at a second Esc: then it is opened again.
  const closed = () => {
    if (!shown.value || !hold()) shown.value = false;
    else {
      ref.current.showModal();
      hold();
    }
  };
  return html`<dialog
    ref=${ref}
    class=${`drawer ${side}`}
    aria-label=${label}
    onCancel=${(event) => event.target === ref.current && stay(event)}
    onClose=${closed}
    onKeyDown=${(event) => event.key === "Escape" && stay(event)}
    onClick=${(event) => event.target === ref.current && close()}
  >
    ${on && children}
  </dialog>`;
}

/** The head of a drawer: its name and a way out. */
export function DrawerHead({ title, close }) {
  return html`<header class="drawer-head">
    <h2>${title}</h2>
    <button type="button" class="bare" aria-label=${t("dialog.close")} title=${t("dialog.close")} onClick=${close}>
      <${Icon} name="close" />
    </button>
  </header>`;
}

/** Asks for the server's key when a request was answered with 401. */
export function KeyDialog() {
  const asked = keyRequest.value;
  const ref = useRef(null);
  const [key, setKey] = useState("");
  useEffect(() => {
    if (asked && !ref.current.open) ref.current.showModal();
    if (!asked && ref.current.open) ref.current.close();
    setKey("");
  }, [asked]);
  const send = (event) => {
    event.preventDefault();
    if (key.trim()) asked.resolve(key.trim());
  };
  return html`<dialog ref=${ref} class="drawer centre" aria-labelledby="key-title" onCancel=${() => asked.resolve(null)}>
    ${asked &&
    html`<form onSubmit=${send}>
      <h2 id="key-title">${t("key.title")}</h2>
      <p>${t("key.lead")}</p>
      ${asked.message && html`<p class="said">${asked.message}</p>`}
      <label class="field">
        <span>${t("key.label")}</span>
        <input
          type="password"
          autocomplete="off"
          spellcheck=${false}
          autofocus
          value=${key}
          onInput=${(event) => setKey(event.target.value)}
        />
      </label>
      <div class="actions">
        <button type="button" onClick=${() => asked.resolve(null)}>${t("dialog.cancel")}</button>
        <button type="submit" class="primary">${t("key.use")}</button>
      </div>
    </form>`}
  </dialog>`;
}

/** Gives a conversation another name. */
export function NameDialog() {
  const one = renaming.value;
  const ref = useRef(null);
  const close = () => (renaming.value = null);
  useEffect(() => {
    if (one && !ref.current.open) ref.current.showModal();
    if (!one && ref.current.open) ref.current.close();
  }, [one]);
  const save = (event) => {
    event.preventDefault();
    const title = new FormData(event.target).get("title").trim();
    if (title) change(one.id, (old) => ({ ...old, title }));
    close();
  };
  return html`<dialog ref=${ref} class="drawer centre" aria-labelledby="name-title" onClose=${close}>
    ${one &&
    html`<form onSubmit=${save}>
      <h2 id="name-title">${t("chat.rename")}</h2>
      <label class="field">
        <span>${t("chat.rename.label")}</span>
        <input name="title" autocomplete="off" dir="auto" autofocus defaultValue=${one.title} />
      </label>
      <div class="actions">
        <button type="button" onClick=${close}>${t("dialog.cancel")}</button>
        <button type="submit" class="primary">${t("dialog.save")}</button>
      </div>
    </form>`}
  </dialog>`;
}
