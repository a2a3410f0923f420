/** A menu of the forms in which something is handed on: a <details>, closed by a choice, by Esc and by leaving it. */
import { html, useRef, useState } from "../lib.js";
import { t } from "../i18n.js";
import { ApiError } from "../api.js";
import { handOver } from "../export.js";
import { say } from "../state.js";
import { Icon } from "./icons.js";

/**
 * @param {{forms: Record<string, string>, make: (form: string) => Promise<Blob>, nameFor: (form: string) => string}} props
 *   forms: what each is called; make may throw an ApiError
 */
export function Save({ forms, make, nameFor }) {
  const ref = useRef(null);
  const [saving, setSaving] = useState("");
  const close = () => ref.current.removeAttribute("open");
  const save = (form) => async () => {
    close();
    if (saving) return;
    setSaving(form);
    try {
      handOver(nameFor(form), await make(form));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      say(`${t("sound.unsaved")} ${error.message || t(`error.${error.kind}`, { status: error.status ?? "" })}`);
    } finally {
      setSaving("");
    }
  };
  const esc = (event) => {
    if (event.key !== "Escape" || !ref.current.open) return;
    event.preventDefault();
    close();
    ref.current.querySelector("summary").focus();
  };
  return html`<details
    class=${saving ? "menu save saving" : "menu save"}
    ref=${ref}
    onFocusOut=${(event) => ref.current.contains(event.relatedTarget) || close()}
    onKeyDown=${esc}
  >
    <summary class="bare"><${Icon} name="down" />${t(saving ? "sound.saving" : "sound.save")}</summary>
    <ul tabindex="-1">
      ${Object.entries(forms).map(
        ([form, name]) => html`<li key=${form}><button type="button" onClick=${save(form)}>${name}</button></li>`,
      )}
    </ul>
  </details>`;
}
