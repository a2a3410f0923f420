/** A task's form, made from its declaration, and what it made. Knows no task by name. */
import { html, signal, useEffect, useId, useRef, useState } from "../lib.js";
import { lang, number, pick, t } from "../i18n.js";
import { write } from "../chat.js";
import { download, fileName, textToMarkdown } from "../export.js";
import { newId, open } from "../store.js";
import { models, route, tasks, writer } from "../state.js";
import { Banner } from "./banner.js";
import { ModelChoice } from "./model.js";
import { Icon } from "./icons.js";
import { Copy, Figures, MenuButton } from "./bits.js";
import { Failure } from "./message.js";
import { Prose } from "./prose.js";
import { leastOf, readNumber } from "./settings.js";

/** What was typed, and what came of it, by task: kept while the page is open. */
const typed = new Map();
const results = signal(new Map());

const setResult = (name, result) => (results.value = new Map(results.value).set(name, result));

/** The declaration's title in the present language, or the name. */
export const titleOf = (task, name) => pick(task?.title) || name;

export function Task() {
  const name = route.value.id;
  const task = tasks.value.find((one) => one.name === name);
  return html`<main class="task">
    <header class="head">
      <${MenuButton} />
      ${task?.model
        ? html`<span class="model quiet">${task.model}</span>`
        : html`<${ModelChoice} conversation=${open.value} task />`}
    </header>
    <${Banner} />
    <div class="task-in">
      <h1>${titleOf(task, name)}</h1>
      ${task
        ? html`<${Form} task=${task} /><${Result} task=${task} />`
        : html`<p class="lead">${models.value === null ? t("model.loading") : t("tasks.unknown", { name })}</p>`}
      <p class="notice">${t("label.notice")}</p>
    </div>
  </main>`;
}

/** The value a field starts with: its default in the present language, or empty. */
export function initial(field) {
  const given = field.default;
  if (given !== null && typeof given === "object" && !Array.isArray(given)) return pick(given);
  return given ?? (field.type === "flag" ? false : "");
}

const isNumber = (field) => field.type === "number";

/** @returns {string} what is wrong with a value, or "" */
export function complaint(field, value) {
  if (isNumber(field)) {
    const least = leastOf(field.name);
    const [min, max] = [Math.max(field.min ?? least, least), field.max ?? Number.MAX_SAFE_INTEGER];
    const { valid } = readNumber(String(value), min, max, field.whole);
    const allowed = { min: number(min, 3), max: number(max, 3) };
    if (!valid) return t(field.whole ? "settings.invalid.int" : "settings.invalid.number", allowed);
  }
  if (field.type === "flag") return "";
  if (field.required && String(value).trim() === "") return t("tasks.missing");
  const letters = isNumber(field) ? 0 : Array.from(value).length;
  if (letters > (field.max ?? Infinity)) return t("tasks.long", { n: number(letters), max: number(field.max) });
  return "";
}

/** The request's fields: empty ones are left out, numbers are numbers. */
export function fieldValues(task, values) {
  const sent = {};
  for (const field of task.fields) {
    const value = values[field.name];
    if (typeof value === "string" && value.trim() === "") continue;
    sent[field.name] = isNumber(field) ? Number(value) : value;
  }
  return sent;
}

/** The text that a continuation continues: the required text of a task whose answer goes on there. "" for other tasks. */
function beginning(task, sent) {
  if (!task.continues) return "";
  const field = task.fields.find((one) => one.required && ["text", "file"].includes(one.type));
  return field ? sent[field.name] : "";
}

/** What is saved: each version below its number, with the text that it continues before it. */
function whole(done, begins) {
  const texts = done.versions ?? [done.text];
  const full = texts.map((text) => begins + text.trimEnd());
  if (full.length === 1) return full[0];
  return full.map((text, at) => `## ${t("tasks.version", { n: at + 1 })}\n\n${text}`).join("\n\n");
}

async function perform(task, values) {
  const run = {
    id: newId(),
    abort: new AbortController(),
    text: signal(""),
    phase: signal("waiting"),
    started: performance.now(),
  };
  setResult(task.name, { run });
  const body = { fields: fieldValues(task, values), lang: lang.value, stream: true };
  const chosen = task.model ?? writer.value;
  if (chosen) body.model = chosen;
  const done = await write(run, `/v1/tasks/${encodeURIComponent(task.name)}`, body);
  setResult(task.name, { id: run.id, done, begins: beginning(task, body.fields) });
}

/** Stop and run have keys: one button turning into the other within a click would send the form. */
function Form({ task }) {
  const [values, setValues] = useState(
    () => typed.get(task.name) ?? Object.fromEntries(task.fields.map((field) => [field.name, initial(field)])),
  );
  const [tried, setTried] = useState(false);
  const run = results.value.get(task.name)?.run;
  useEffect(() => void typed.set(task.name, values), [values]);
  const submit = (event) => {
    event.preventDefault();
    if (run) return;
    setTried(true);
    const wrong = task.fields.find((field) => complaint(field, values[field.name]));
    if (wrong) event.target.elements.namedItem(wrong.name).focus();
    else void perform(task, values);
  };
  return html`<form class="fields task-form" onSubmit=${submit} noValidate>
    <p class="lead">${pick(task.summary)}</p>
    ${task.fields.map(
      (field) =>
        html`<${Field}
          key=${field.name}
          field=${field}
          value=${values[field.name]}
          wrong=${tried ? complaint(field, values[field.name]) : ""}
          set=${(value) => setValues((old) => ({ ...old, [field.name]: value }))}
        />`,
    )}
    <div class="actions start">
      ${run
        ? html`<button key="stop" type="button" onClick=${() => run.abort.abort()}>${t("tasks.stop")}</button>`
        : html`<button key="go" type="submit" class="primary">${t("tasks.run")}</button>`}
    </div>
  </form>`;
}

function Field({ field, value, wrong, set }) {
  const id = useId();
  const help = wrong || pick(field.help);
  const shared = {
    id,
    name: field.name,
    "aria-describedby": help ? `${id}-help` : undefined,
    "aria-invalid": wrong ? "true" : undefined,
    "aria-required": field.required ? "true" : undefined,
  };
  const note = help && html`<small id=${`${id}-help`} class=${wrong ? "wrong" : undefined}>${help}</small>`;
  if (field.type === "flag") {
    return html`<div class="field check">
      <input type="checkbox" ...${shared} checked=${value} onChange=${(event) => set(event.target.checked)} />
      <label for=${id}>${pick(field.label) || field.name}</label>
      ${note}
    </div>`;
  }
  const small = isNumber(field) || field.type === "choice";
  return html`<div class=${small ? "field small" : "field"}>
    <label for=${id}>
      ${pick(field.label) || field.name}
      ${field.required && html`<em>${t("tasks.required")}</em>`}
    </label>
    <${Control} ...${{ field, value, set, shared }} />
    ${note}
  </div>`;
}

function Control({ field, value, set, shared }) {
  const input = (event) => set(event.target.value);
  if (field.choices?.length) {
    return html`<select ...${shared} value=${value} onChange=${input}>
      ${value === "" && html`<option value=""></option>`}
      ${field.choices.map((choice) => {
        const one = typeof choice === "object" ? choice : { value: choice, label: String(choice) };
        return html`<option key=${one.value} value=${one.value}>${pick(one.label) || one.value}</option>`;
      })}
    </select>`;
  }
  if (isNumber(field)) {
    return html`<input ...${shared} inputmode="decimal" autocomplete="off" value=${value} onInput=${input} />`;
  }
  if (field.type === "file") return html`<${TextFile} ...${{ value, set, shared }} />`;
  return html`<textarea ...${shared} rows="4" dir="auto" value=${value} onInput=${input}></textarea>`;
}

/** A file whose text is the value; it can be read and changed before it is sent. */
function TextFile({ value, set, shared }) {
  const read = async (event) => {
    const [file] = event.target.files;
    if (file) set(await file.text());
  };
  return html`<input type="file" aria-label=${t("tasks.file")} onChange=${read} />
    <textarea ...${shared} rows="4" dir="auto" value=${value} onInput=${(event) => set(event.target.value)}></textarea>`;
}

function Result({ task }) {
  const { run, done, id, begins } = results.value.get(task.name) ?? {};
  const place = useRef(null);
  useEffect(() => {
    if (run) place.current.scrollIntoView({ behavior: "smooth", block: "start" });
  }, [run]);
  if (!run && !done) return null;
  const text = run ? run.text.value : done.text;
  const title = titleOf(task, task.name);
  const save = async () => {
    const labelled = await textToMarkdown(id, title, whole(done, begins), t("label.short"));
    download(fileName(title, "md"), labelled, "text/markdown");
  };
  return html`<section class="result" ref=${place} aria-label=${t("tasks.result")} aria-busy=${run ? "true" : undefined}>
    <p class="by">
      ${(text || !done?.error) && html`<span class="label">${t("label.short")}</span>`}
      ${run && html`<span class="progress">${t(`message.${run.phase.value}`)}</span>`}
    </p>
    <${Prose} text=${text} whole=${!run} />
    ${done?.error && html`<${Failure} error=${done.error} />`}
    ${done &&
    html`<div class="tools">
      <${Copy} text=${text} />
      ${text &&
      html`<button type="button" class="bare" aria-label=${t("tasks.save")} title=${t("tasks.save")} onClick=${save}>
        <${Icon} name="down" />
      </button>`}
      <${Figures} message=${done} />
    </div>`}
  </section>`;
}
