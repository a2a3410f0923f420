/** The settings of a conversation. An empty field is not sent; a 0 is sent as 0. */
import { html, useId, useState } from "../lib.js";
import { number, t } from "../i18n.js";
import { changeSettings, open } from "../store.js";
import { settingsOpen } from "../state.js";
import { Drawer, DrawerHead } from "./dialogs.js";

/** name, smallest, largest, step of the arrows, whole numbers only */
export const SAMPLING = [
  ["temperature", 0, 2, 0.1, false],
  ["top_p", 0, 1, 0.05, false],
  ["top_k", 0, 1_000_000, 1, true],
  ["max_tokens", 1, 1_000_000, 1, true],
  ["seed", 0, Number.MAX_SAFE_INTEGER, 1, true],
];

export function Settings() {
  const close = () => (settingsOpen.value = false);
  return html`<${Drawer} side="right" label=${t("settings.title")} shown=${settingsOpen}>
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
      ${SAMPLING.map(
        ([name, min, max, step, whole]) =>
          html`<${NumberField} key=${name} ...${{ name, min, max, step, whole, value: settings.sampling[name], set }} />`,
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

function NumberField({ name, min, max, step, whole, value, set }) {
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
    const next = Math.min(max, Math.max(min, Math.round(((read.value ?? min) + by) * 1000) / 1000));
    setText(String(next));
    set(name, next);
  };
  const wrong = t(whole ? "settings.invalid.int" : "settings.invalid.number", { min: number(min), max: number(max) });
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
