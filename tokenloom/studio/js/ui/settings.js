/** The settings of a conversation. An empty field is not sent; a 0 is sent as 0. */
import { html, useId, useState } from "../lib.js";
import { number, t } from "../i18n.js";
import { changeSettings, open } from "../store.js";
import { settingsOpen } from "../state.js";
import { Drawer, DrawerHead } from "./dialogs.js";

/** Where the arrow keys start in an empty field, and by how much they go. */
const FIELDS = [
  { name: "temperature", min: 0, max: 2, start: 1, step: 0.1, whole: false },
  { name: "top_p", min: 0.01, max: 1, start: 1, step: 0.05, whole: false },
  { name: "top_k", min: 0, max: 1_000_000, start: 40, step: 1, whole: true },
  { name: "max_tokens", min: 1, max: 1_000_000, start: 256, step: 16, whole: true },
  { name: "seed", min: 0, max: Number.MAX_SAFE_INTEGER, start: 0, step: 1, whole: true },
];

/** The least that a sampling value may be, whoever declares a field of that name. */
export const leastOf = (name) => FIELDS.find((field) => field.name === name)?.min ?? -Number.MAX_SAFE_INTEGER;

/** Goes to the first field whose value is not allowed. @returns {boolean} whether there is one */
function wrongFirst() {
  const field = document.querySelector(".settings [aria-invalid]");
  field?.focus();
  return Boolean(field);
}

export function Settings() {
  const close = () => wrongFirst() || (settingsOpen.value = false);
  return html`<${Drawer} side="right" label=${t("settings.title")} shown=${settingsOpen} hold=${wrongFirst}>
    <div class="settings">
      <${DrawerHead} title=${t("settings.title")} close=${close} />
      <${Fields} />
    </div>
  <//>`;
}

function Fields() {
  const { id, settings } = open.value;
  const [round, setRound] = useState(0);
  const set = (name, value) => {
    const { [name]: _, ...others } = settings.sampling;
    changeSettings(id, { sampling: value === undefined ? others : { ...others, [name]: value } });
  };
  const reset = () => {
    changeSettings(id, { sampling: {} });
    setRound(round + 1);
  };
  const helpId = useId();
  return html`<form class="fields" onSubmit=${(event) => event.preventDefault()}>
    <p class="lead">${t("settings.lead")}</p>
    <label class="field">
      <span>${t("settings.system")}</span>
      <textarea
        rows="5"
        dir="auto"
        aria-describedby=${helpId}
        value=${settings.system}
        onInput=${(event) => changeSettings(id, { system: event.target.value })}
      ></textarea>
      <small id=${helpId}>${t("settings.system.help")}</small>
    </label>
    <fieldset key=${`${id}-${round}`}>
      <legend>${t("settings.sampling")}</legend>
      ${FIELDS.map(
        (field) =>
          html`<${NumberField} key=${field.name} ...${field} value=${settings.sampling[field.name]} set=${set} />`,
      )}
    </fieldset>
    <div class="actions"><button type="button" onClick=${reset}>${t("settings.reset")}</button></div>
  </form>`;
}

/**
 * Reads what stands in a number field.
 * @returns {{value?: number, valid: boolean}} an empty field is valid and has no value
 */
export function readNumber(text, min, max, whole) {
  const trimmed = text.trim();
  if (trimmed === "") return { valid: true };
  const value = Number(trimmed);
  const valid = Number.isFinite(value) && value >= min && value <= max && (!whole || Number.isInteger(value));
  return valid ? { value, valid } : { valid };
}

function NumberField({ name, min, max, start, step, whole, value, set }) {
  const [text, setText] = useState(value === undefined ? "" : String(value));
  const { valid } = readNumber(text, min, max, whole);
  const id = useId();
  const input = (event) => {
    // A number field hands out "" for what it cannot read, so this is a text field with a number keyboard.
    setText(event.target.value);
    const read = readNumber(event.target.value, min, max, whole);
    if (read.valid) set(name, read.value);
  };
  const nudge = (event) => {
    const by = { ArrowUp: step, ArrowDown: -step }[event.key];
    const read = readNumber(text, min, max, whole);
    if (!by || !read.valid) return;
    event.preventDefault();
    const from = read.value === undefined ? start : Math.round((read.value + by) * 1000) / 1000;
    const next = Math.min(max, Math.max(min, from));
    setText(String(next));
    set(name, next);
  };
  const wrong = t(whole ? "settings.invalid.int" : "settings.invalid.number", { min: number(min, 2), max: number(max) });
  return html`<div class="field number">
    <label for=${id}>${t(`settings.${name}`)}</label>
    <input
      id=${id}
      name=${name}
      inputmode=${whole ? "numeric" : "decimal"}
      autocomplete="off"
      placeholder=${t("settings.auto")}
      aria-invalid=${valid ? undefined : "true"}
      aria-describedby=${`${id}-help`}
      value=${text}
      onInput=${input}
      onKeyDown=${nudge}
    />
    <small id=${`${id}-help`} class=${valid ? undefined : "wrong"}>${valid ? t(`settings.${name}.help`) : wrong}</small>
  </div>`;
}
