/** The drawing page: what to do, with which words and which picture, and below it the pictures of this session. */
import { html, useEffect, useId, useState } from "../lib.js";
import { lang, t } from "../i18n.js";
import { choosePainter, drawing, fieldsOf, mode, MODES, painter, perform, source, stopDrawing, strokes, take, type, typed } from "../draw.js";
import { models, painters, pictureTasks } from "../state.js";
import { Banner } from "./banner.js";
import { Lacking, MenuButton } from "./bits.js";
import { Gallery } from "./gallery.js";
import { Icon } from "./icons.js";
import { Mask } from "./mask.js";
import { asked, Knob, Words } from "./knobs.js";
import { complaint, initial } from "./task.js";

/** Which fields stand in the row below the words; the others are under "more". */
const AT_HAND = ["style", "n", "guidance", "seed"];
/** These have a place of their own. */
const APART = ["image", "mask", "prompt"];
/** Those that work on a picture. */
const onPicture = (which) => which !== "draw";
const KINDS = "image/png,image/jpeg,image/webp,image/gif,image/bmp";

export function Draw() {
  useEffect(() => {
    const paste = (event) => {
      const file = pictureIn(event.clipboardData);
      if (!file || painters.value.length === 0) return;
      event.preventDefault();
      void take(file, file.name);
    };
    document.addEventListener("paste", paste);
    return () => document.removeEventListener("paste", paste);
  }, []);
  return html`<main class="task draw">
    <header class="head">
      <${MenuButton} />
      <${PainterChoice} />
    </header>
    <${Banner} />
    <div class="task-in">
      <h1>${t("draw.title")}</h1>
      ${painters.value.length > 0 ? html`<${Form} key=${mode.value} />` : html`<${Lacking} text=${t("draw.lacking")} command="loom studio --model painter" more=${t("draw.lacking.more")} />`}
      <${Gallery} />
      <p class="notice">${t("draw.notice")}</p>
    </div>
  </main>`;
}

/** The first picture among what is pasted or dropped. @param {DataTransfer | null} data */
const pictureIn = (data) => Array.from(data?.files ?? []).find((file) => file.type.startsWith("image/"));

function PainterChoice() {
  if (models.value === null) return html`<span class="model quiet">${t("model.loading")}</span>`;
  if (!painter.value) return html`<span class="model quiet">${t("draw.noModel")}</span>`;
  return html`<label class="model">
    <span class="unseen">${t("model.label")}</span>
    <select value=${painter.value.id} onChange=${(event) => choosePainter(event.target.value)}>
      ${painters.value.map((one) => html`<option key=${one.id} value=${one.id}>${one.id}</option>`)}
    </select>
  </label>`;
}

/** The value of a field as it stands in the form. */
const valueOf = (field) => String(typed.value[mode.value][field.name] ?? initial(field));

/** @returns {string} what is wrong with a field, or "" */
function wrongWith(field) {
  if (field.type === "picture") {
    if (field.name === "image") return source.value ? "" : t("draw.source.missing");
    return strokes.value.length > 0 ? "" : t("draw.mask.missing");
  }
  return complaint(field, valueOf(field));
}

/** Stop and go have keys: one button turning into the other within a click would send the form. */
function Form() {
  const which = mode.value;
  const [tried, setTried] = useState(false);
  const [tongue, setTongue] = useState(lang.value);
  const fields = fieldsOf(which);
  const wrong = (name) => {
    const field = tried && fields.find((one) => one.name === name);
    return field ? wrongWith(field) : "";
  };
  const plain = fields.filter((field) => !APART.includes(field.name));
  const prompt = fields.find((field) => field.name === "prompt");
  const later = plain.filter((field) => !AT_HAND.includes(field.name));
  const submit = (event) => {
    event.preventDefault();
    if (drawing.value) return;
    setTried(true);
    const bad = fields.find(wrongWith);
    if (!bad) void perform(asked(fields, valueOf), tongue);
    else {
      const details = event.target.querySelector("details");
      if (later.includes(bad)) details.open = true;
      event.target.querySelector(`[name="${bad.name}"]`)?.focus();
    }
  };
  const shared = (field) => ({
    field,
    value: valueOf(field),
    set: (value) => type(which, field.name, value),
    wrong: wrong(field.name),
  });
  const knob = (field) => html`<${Knob} key=${field.name} ...${shared(field)} />`;
  return html`<form class="fields draw-form" onSubmit=${submit} noValidate>
    <${Modes} />
    <p class="lead">${t(`draw.lead.${which}`)}</p>
    <div class=${onPicture(which) ? "easel" : "easel words-only"}>
      ${onPicture(which) && html`<${Slot} wrong=${wrong("image") || wrong("mask")} />`}
      <div class="asking">
        ${prompt && html`<${Words} ...${shared(prompt)} hint=${t(`draw.prompt.${which}`)} />`}
        ${which === "describe" && html`<${Tongue} value=${tongue} set=${setTongue} />`}
        <div class="knobs">${plain.filter((field) => AT_HAND.includes(field.name)).map(knob)}</div>
        ${later.length > 0 &&
        html`<details class="later">
          <summary>${t("draw.more")}</summary>
          <div class="knobs">${later.map(knob)}</div>
        </details>`}
        <div class="actions start">
          ${drawing.value
            ? html`<button key="stop" type="button" class="halt" onClick=${stopDrawing}>${t("tasks.stop")}</button>`
            : html`<button key="go" type="submit" class="primary">${t(`draw.mode.${which}`)}</button>`}
        </div>
      </div>
    </div>
  </form>`;
}

/** What is to be done: one of five. */
function Modes() {
  const known = MODES.filter((one) => pictureTasks.value.size === 0 || fieldsOf(one).length > 0);
  return html`<fieldset class="modes">
    <legend class="unseen">${t("draw.modes")}</legend>
    ${known.map(
      (one) => html`<label key=${one}>
        <input type="radio" name="mode" value=${one} checked=${mode.value === one} onChange=${() => choose(one)} />
        <span>${t(`draw.mode.${one}`)}</span>
      </label>`,
    )}
  </fieldset>`;
}

/** The form is another one then; the choice keeps the focus, so that arrow keys go on. */
function choose(one) {
  mode.value = one;
  requestAnimationFrame(() => document.querySelector(`.modes input[value="${one}"]`)?.focus({ preventScroll: true }));
}

/** In which language a picture is described. */
function Tongue({ value, set }) {
  const id = useId();
  return html`<div class="field knob">
    <label for=${id}>${t("draw.tongue")}</label>
    <select id=${id} name="lang" value=${value} onChange=${(event) => set(event.target.value)}>
      <option value="en" lang="en">English</option>
      <option value="zh" lang="zh-CN">中文</option>
    </select>
  </div>`;
}

/** The picture to work on: chosen, dropped, pasted, or taken from those below; where a part is redrawn, with its mask. */
function Slot({ wrong }) {
  const now = source.value;
  const [over, setOver] = useState(false);
  const id = useId();
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    const file = pictureIn(event.dataTransfer);
    if (file) void take(file, file.name);
  };
  const drag = (event) => {
    event.preventDefault();
    setOver(true);
  };
  const choice = html`<label class="file">
    <input
      type="file"
      class="unseen"
      name="image"
      accept=${KINDS}
      aria-describedby=${`${id}-help`}
      aria-invalid=${wrong ? "true" : undefined}
      onChange=${({ target }) => {
        const [file] = target.files;
        target.value = "";
        if (file) void take(file, file.name);
      }}
    />
    <span><${Icon} name="picture" />${t(now ? "draw.source.other" : "draw.source.choose")}</span>
  </label>`;
  return html`<div class=${over ? "slot over" : "slot"} onDragOver=${drag} onDragLeave=${() => setOver(false)} onDrop=${drop}>
    ${now
      ? html`${mode.value === "edit"
            ? html`<${Mask} key=${now.id} />`
            : html`<img class="checked" src=${now.url} alt=${t("draw.source.alt", { text: now.name })} />`}
          <div class="slot-foot">${choice}</div>`
      : html`<div class="slot-empty"><${Icon} name="picture" />${choice}<p>${t("draw.source.hint")}</p></div>`}
    <small id=${`${id}-help`} class=${wrong ? "wrong" : "unseen"}>${wrong || t("draw.source.hint")}</small>
  </div>`;
}
