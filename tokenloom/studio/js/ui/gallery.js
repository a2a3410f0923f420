/** The pictures of this session: each work with what was asked, its pictures as they fill in, and what can be done on. */
import { html, useEffect, useRef, useState } from "../lib.js";
import { number, pick, t } from "../i18n.js";
import { ApiError } from "../api.js";
import { fieldsOf, fileOf, nameOf, removeWork, useAgain, workOn, works } from "../draw.js";
import { fileName, handOver } from "../export.js";
import { say } from "../state.js";
import { Copy, Progress } from "./bits.js";
import { Icon } from "./icons.js";
import { Failure } from "./message.js";

export function Gallery() {
  if (works.value.length === 0) return null;
  return html`<section class="gallery" aria-label=${t("draw.gallery")}>
    ${works.value.map((work) => html`<${Work} key=${work.id} work=${work} />`)}
  </section>`;
}

/** Brings the form into view after a work has filled it. */
function toForm() {
  requestAnimationFrame(() => {
    document.querySelector(".draw-form")?.scrollIntoView({ behavior: "smooth", block: "start" });
    document.querySelector(".draw-form canvas, .draw-form textarea, .draw-form select")?.focus({ preventScroll: true });
  });
}

function Work({ work }) {
  const { run, error, finish, mode } = work;
  const place = useRef(null);
  useEffect(() => {
    if (run) place.current.scrollIntoView({ behavior: "smooth", block: "nearest" });
  }, []);
  const name = nameOf(work);
  const drop = () => {
    const back = removeWork(work.id);
    say(t("draw.removed", { name }), back);
  };
  const again = () => {
    useAgain(work);
    toForm();
  };
  return html`<article ref=${place} class=${`work ${mode}`} aria-busy=${run ? "true" : undefined} aria-label=${name}>
    <header>
      <div class="what">
        <h2 dir="auto">${name}</h2>
        <${About} work=${work} />
      </div>
      ${!run &&
      html`<div class="tools">
        <button type="button" class="bare" aria-label=${t("draw.again")} title=${t("draw.again")} onClick=${again}>
          <${Icon} name="again" />
        </button>
        <button type="button" class="bare" aria-label=${t("draw.remove", { name })} title=${t("draw.remove.short")} onClick=${drop}>
          <${Icon} name="trash" />
        </button>
      </div>`}
    </header>
    ${mode === "describe" ? html`<${Words} work=${work} />` : html`<${Pictures} work=${work} />`}
    ${finish === "stopped" && html`<p class="ending">${t("draw.stopped")}</p>`}
    ${error && html`<${Failure} error=${error} hint=${t("draw.change")} />`}
  </article>`;
}

/** The label, and the figures with which the same can be asked for again. */
function About({ work }) {
  const { mode, asked, run, seed, took, model } = work;
  const style = fieldsOf(mode).find((field) => field.name === "style");
  const chosen = style?.choices?.find((one) => one.value === asked.style);
  const figures = [mode !== "draw" && t(`draw.mode.${mode}`), chosen && pick(chosen.label), model];
  if (seed && mode !== "describe") figures.push(t("stats.seed", { n: seed }));
  if (took !== undefined) figures.push(t("stats.elapsed", { n: number(took / 1000, 1) }));
  return html`<p class="by">
    <span class="label">${t("label.short")}</span>
    ${run && html`<${Progress} run=${run} text=${t(PHASES[run.phase.value])} />`}
    ${figures.filter(Boolean).map((text) => html`<span key=${text} class="figure">${text}</span>`)}
  </p>`;
}

const PHASES = {
  waiting: "draw.waiting",
  loading: "message.loading",
  drawing: "draw.drawing",
  writing: "message.writing",
};

function Words({ work }) {
  const text = work.run ? work.run.text.value : (work.words ?? "");
  return html`<div class="described">
    <img class="checked" src=${work.source.url} alt=${t("draw.source.alt", { text: work.source.name })} />
    <div>
      <p class="said-of" lang=${work.lang === "zh" ? "zh-CN" : "en"}>${text}</p>
      ${!work.run && text && html`<div class="tools"><${Copy} text=${text} /></div>`}
    </div>
  </div>`;
}

function Pictures({ work }) {
  const kept = work.run ? work.pictures : work.pictures.filter((one) => one.url);
  return html`<ul class=${work.pictures.length === 1 ? "pictures single" : "pictures"}>
    ${kept.map((picture) => html`<${Card} key=${picture.id} work=${work} picture=${picture} />`)}
  </ul>`;
}

const ACTS = [
  ["edit", "brush"],
  ["restyle", "palette"],
  ["vary", "vary"],
  ["describe", "eye"],
];

function Card({ work, picture }) {
  const n = Number(picture.id) + 1;
  const text = nameOf(work);
  const alt = t(picture.whole ? "draw.alt" : "draw.alt.partial", { n: number(n), text });
  const compares = picture.whole && (work.mode === "edit" || work.mode === "restyle");
  const [saving, setSaving] = useState(false);
  const save = async () => {
    if (saving) return;
    setSaving(true);
    try {
      const file = await fileOf(work, picture);
      handOver(fileName(`${text} ${work.seed}-${n}`, file.type.replace("image/", "")), file);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      say(`${t("draw.unsaved")} ${error.message || t(`error.${error.kind}`, { status: error.status ?? "" })}`);
    } finally {
      setSaving(false);
    }
  };
  const act = async (to) => {
    await workOn(to, work, picture);
    toForm();
  };
  return html`<li class="card">
    ${compares
      ? html`<${Compare} before=${work.source} url=${picture.url} alt=${alt} />`
      : html`<div class=${picture.url ? "frame checked" : "frame blank"}>
          ${picture.url ? html`<img src=${picture.url} alt=${alt} />` : html`<span class="unseen">${alt}</span>`}
        </div>`}
    ${picture.whole &&
    html`<div class="acts">
      <button
        type="button"
        class=${saving ? "bare saving" : "bare"}
        aria-label=${t("draw.save", { n })}
        aria-disabled=${saving ? "true" : undefined}
        title=${t("draw.save.short")}
        onClick=${save}
      >
        <${Icon} name="down" />
      </button>
      ${ACTS.filter(([to]) => fieldsOf(to).length > 0).map(
        ([to, icon]) => html`<button
          key=${to}
          type="button"
          class="bare"
          aria-label=${t(`draw.act.${to}`, { n })}
          title=${t(`draw.mode.${to}`)}
          onClick=${() => act(to)}
        >
          <${Icon} name=${icon} />
        </button>`,
      )}
    </div>`}
  </li>`;
}

/** The new picture over the one it was made of, as far as the slider uncovers it. */
function Compare({ before, url, alt }) {
  const [shown, setShown] = useState(0);
  return html`<div class="compare">
    <div class="frame checked" style=${{ "--cut": `${shown}%` }}>
      <img class="before" src=${before.url} alt=${t("draw.before.alt", { text: before.name })} />
      <img class="after checked" src=${url} alt=${alt} />
      ${shown > 0 && shown < 100 && html`<span class="seam" aria-hidden="true"></span>`}
    </div>
    <input
      type="range"
      min="0"
      max="100"
      value=${shown}
      aria-label=${t("draw.compare")}
      aria-valuetext=${t("draw.compare.value", { n: shown })}
      onInput=${(event) => setShown(Number(event.target.value))}
    />
    <p class="sides" aria-hidden="true"><span>${t("draw.before")}</span><span>${t("draw.after")}</span></p>
  </div>`;
}
