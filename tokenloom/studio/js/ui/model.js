/** Which model answers: one of those that the server offers. */
import { html } from "../lib.js";
import { t } from "../i18n.js";
import { changeSettings } from "../store.js";
import { general, model, models, talkers, writer } from "../state.js";

/** @param {{conversation: import("../store.js").Conversation, task?: boolean}} props task: for one of any model */
export function ModelChoice({ conversation, task }) {
  const known = (task ? general : talkers).value;
  const chosen = (task ? writer : model).value;
  if (models.value === null) return html`<span class="model quiet">${t("model.loading")}</span>`;
  const missing = chosen && !known.some((one) => one.id === chosen);
  return html`<label class="model">
    <span class="unseen">${t("model.label")}</span>
    <select
      value=${chosen}
      disabled=${known.length === 0}
      onChange=${(event) => changeSettings(conversation.id, { model: event.target.value })}
    >
      ${!chosen && html`<option value="">${t("model.none")}</option>`}
      ${missing && html`<option value=${chosen}>${t("model.missing", { name: chosen })}</option>`}
      ${known.map((one) => html`<option key=${one.id} value=${one.id}>${one.id}</option>`)}
    </select>
  </label>`;
}
