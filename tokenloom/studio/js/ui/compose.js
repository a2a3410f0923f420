/** The composing page: what the tune shall be, and below it the tunes of this session. */
import { html, useState } from "../lib.js";
import { t } from "../i18n.js";
import { chooseComposer, compose, composer, fields, openScore, stopComposing, type, typed, underWay } from "../music.js";
import { composers, models } from "../state.js";
import { Banner } from "./banner.js";
import { Lacking, MenuButton } from "./bits.js";
import { Icon } from "./icons.js";
import { asked, Knob, Words } from "./knobs.js";
import { complaint, initial } from "./task.js";
import { Tunes } from "./tunes.js";

/** Which fields stand in the row below the words; the others are under "more". */
const AT_HAND = ["kind", "key", "bars", "seed", "harmonise"];
const SCORES = ".mid,.midi,.abc,.musicxml,.mxl,.xml,audio/midi";

export function Compose() {
  const [over, setOver] = useState(false);
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    const [file] = event.dataTransfer?.files ?? [];
    if (file && composer.value) void openScore(file);
  };
  const drag = (event) => {
    event.preventDefault();
    setOver(true);
  };
  return html`<main class=${over ? "task compose over" : "task compose"} onDragOver=${drag} onDragLeave=${() => setOver(false)} onDrop=${drop}>
    <header class="head">
      <${MenuButton} />
      <${ComposerChoice} />
    </header>
    <${Banner} />
    <div class="task-in">
      <h1>${t("compose.title")}</h1>
      ${composer.value
        ? html`<${Form} />`
        : html`<${Lacking} text=${t("compose.lacking")} command="loom studio --model composer" more=${t("draw.lacking.more")} />`}
      <${Tunes} />
      <p class="notice">${t("sound.notice")}</p>
    </div>
  </main>`;
}

function ComposerChoice() {
  if (models.value === null) return html`<span class="model quiet">${t("model.loading")}</span>`;
  if (!composer.value) return html`<span class="model quiet">${t("compose.noModel")}</span>`;
  return html`<label class="model">
    <span class="unseen">${t("model.label")}</span>
    <select value=${composer.value.id} onChange=${(event) => chooseComposer(event.target.value)}>
      ${composers.value.map((one) => html`<option key=${one.id} value=${one.id}>${one.id}</option>`)}
    </select>
  </label>`;
}

/** The value of a field as it stands in the form. */
const valueOf = (field) => String(typed.value[field.name] ?? initial(field));

/** What an empty knob means: the words decide, then the model. */
const HINTS = { bars: "16", seed: undefined, temperature: undefined };

/** Stop and go have keys: one button turning into the other within a click would send the form. */
function Form() {
  const [tried, setTried] = useState(false);
  const all = fields.value;
  const words = all.find((field) => field.name === "prompt");
  const knobs = all.filter((field) => field.name !== "prompt");
  const later = knobs.filter((field) => !AT_HAND.includes(field.name));
  const shared = (field) => ({
    field: { hint: field.name in HINTS ? HINTS[field.name] : t("compose.open"), ...field },
    value: valueOf(field),
    set: (value) => type(field.name, value),
    wrong: tried ? complaint(field, valueOf(field)) : "",
  });
  const submit = (event) => {
    event.preventDefault();
    if (underWay.value) return;
    setTried(true);
    const bad = all.find((field) => complaint(field, valueOf(field)));
    if (!bad) {
      void compose(asked(all, valueOf));
      return;
    }
    if (later.includes(bad)) event.target.querySelector("details").open = true;
    event.target.querySelector(`[name="${bad.name}"]`)?.focus();
  };
  const knob = (field) => html`<${Knob} key=${field.name} ...${shared(field)} />`;
  return html`<form class="fields draw-form" onSubmit=${submit} noValidate>
    <p class="lead">${t("compose.lead")}</p>
    <div class="asking">
      ${words && html`<${Words} ...${shared(words)} hint=${t("compose.example")} />`}
      <div class="knobs">${AT_HAND.map((name) => knobs.find((field) => field.name === name)).filter(Boolean).map(knob)}</div>
      ${later.length > 0 &&
      html`<details class="later">
        <summary>${t("draw.more")}</summary>
        <div class="knobs">${later.map(knob)}</div>
      </details>`}
      <div class="actions start">
        ${underWay.value
          ? html`<button key="stop" type="button" class="halt" onClick=${stopComposing}>${t("tasks.stop")}</button>`
          : html`<button key="go" type="submit" class="primary">${t("compose.title")}</button>`}
        <${Open} />
      </div>
    </div>
  </form>`;
}

/** A score of one's own. */
function Open() {
  return html`<label class="file" title=${t("compose.open.help")}>
    <input
      type="file"
      class="unseen"
      accept=${SCORES}
      onChange=${({ target }) => {
        const [file] = target.files;
        if (file) void openScore(file).then(() => (target.value = ""));
      }}
    />
    <span><${Icon} name="score" />${t("compose.open.score")}</span>
  </label>`;
}
