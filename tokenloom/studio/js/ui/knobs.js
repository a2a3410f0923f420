/** The fields of a declaration as the pages of pictures and sound show them: the words large, the rest in small knobs. */
import { html, useId } from "../lib.js";
import { pick, t } from "../i18n.js";
import { composing } from "./composer.js";

/**
 * What is asked, as the declaration's fields name it: empty ones are left out, numbers are numbers.
 * @param {object[]} fields @param {(field: object) => string} valueOf as it stands in the form
 */
export function asked(fields, valueOf) {
  const sent = {};
  for (const field of fields) {
    const value = valueOf(field).trim();
    if (field.type === "picture" || value === "") continue;
    if (field.type === "flag") {
      if (value === "true") sent[field.name] = true;
    } else sent[field.name] = field.type === "number" ? Number(value) : value;
  }
  return sent;
}

/** The words. Enter sends, Shift+Enter adds a line; with `free` Enter adds one, for texts that are long. */
export function Words({ field, value, set, wrong, hint, rows = 2, free = false }) {
  const id = useId();
  const key = (event) => {
    const sends = free ? event.ctrlKey || event.metaKey : !event.shiftKey && !event.altKey;
    if (composing(event) || event.key !== "Enter" || !sends) return;
    event.preventDefault();
    event.target.form.requestSubmit();
  };
  return html`<div class="field">
    <label for=${id}>${pick(field.label)}</label>
    <textarea
      id=${id}
      name=${field.name}
      rows=${rows}
      dir="auto"
      placeholder=${hint}
      aria-describedby=${`${id}-help`}
      aria-invalid=${wrong ? "true" : undefined}
      aria-required=${field.required ? "true" : undefined}
      value=${value}
      onInput=${(event) => set(event.target.value)}
      onKeyDown=${key}
    ></textarea>
    <small id=${`${id}-help`} class=${wrong ? "wrong" : "unseen"}>${wrong || pick(field.help)}</small>
  </div>`;
}

/** A small field: its help is its tooltip, so that the row stays calm. */
export function Knob({ field, value, set, wrong }) {
  const id = useId();
  const help = html`<small id=${`${id}-help`} class=${wrong ? "wrong" : "unseen"}>${wrong || pick(field.help)}</small>`;
  const shared = { id, name: field.name, "aria-describedby": `${id}-help`, "aria-invalid": wrong ? "true" : undefined };
  if (field.type === "flag") {
    return html`<div class="field check knob" title=${pick(field.help)}>
      <input type="checkbox" ...${shared} checked=${value === "true"} onChange=${(event) => set(String(event.target.checked))} />
      <label for=${id}>${pick(field.label)}</label>${help}
    </div>`;
  }
  const input = (event) => set(event.target.value);
  const free = field.hint ?? t(field.name === "seed" ? "draw.random" : "draw.recommended");
  const mode = field.type === "text" ? "text" : field.whole ? "numeric" : "decimal";
  return html`<div class="field knob" title=${pick(field.help)}>
    <label for=${id}>${pick(field.label) || field.name}</label>
    ${field.choices?.length
      ? html`<select ...${shared} value=${value} onChange=${input}>
          ${(field.default ?? "") === "" && html`<option value="">${field.hint ?? t(field.required ? "draw.choose" : "draw.any")}</option>`}
          ${field.choices.map((one) => html`<option key=${one.value} value=${one.value}>${pick(one.label) || one.value}</option>`)}
        </select>`
      : html`<input ...${shared} value=${value} inputmode=${mode} autocomplete="off" spellcheck=${false} placeholder=${free} onInput=${input} />`}
    ${help}
  </div>`;
}
