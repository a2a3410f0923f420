/** The tunes of this session: each with its piano roll, its sound, its versions, and what can be done to it. */
import { html, useEffect, useId, useRef, useState } from "../lib.js";
import { number, pick, t } from "../i18n.js";
import { fileName } from "../export.js";
import { fields, fileOf, FORMS, goOn, harmonise, infill, look, pieces, removePiece, render, select, shown, underWay, useAgain } from "../music.js";
import { say } from "../state.js";
import { Copy, Progress } from "./bits.js";
import { Icon } from "./icons.js";
import { Failure } from "./message.js";
import { Player, usePlayer } from "./player.js";
import { Roll } from "./roll.js";
import { Save } from "./save.js";

export function Tunes() {
  if (pieces.value.length === 0) return null;
  return html`<section class="gallery" aria-label=${t("compose.gallery")}>
    ${pieces.value.map((piece) => html`<${Tune} key=${piece.id} piece=${piece} />`)}
  </section>`;
}

function Tune({ piece }) {
  const { run, error, finish, name } = piece;
  const place = useRef(null);
  useEffect(() => place.current.scrollIntoView({ behavior: "smooth", block: "nearest" }), []);
  const version = shown(piece);
  const drop = () => {
    const back = removePiece(piece.id);
    say(t("draw.removed", { name }), back);
  };
  const again = () => {
    useAgain(piece);
    document.querySelector(".draw-form textarea")?.focus();
  };
  return html`<article ref=${place} class="work tune" aria-busy=${run ? "true" : undefined} aria-label=${name}>
    <header>
      <div class="what">
        <h2 dir="auto">${name}</h2>
        <${About} piece=${piece} version=${version} />
      </div>
      ${run && version && html`<button type="button" class="halt" onClick=${() => run.abort.abort()}>${t("tasks.stop")}</button>`}
      ${!run &&
      html`<div class="tools">
        ${piece.versions[0]?.act === "compose" &&
        html`<button type="button" class="bare" aria-label=${t("draw.again")} title=${t("draw.again")} onClick=${again}>
          <${Icon} name="again" />
        </button>`}
        <button type="button" class="bare" aria-label=${t("draw.remove", { name })} title=${t("draw.remove.short")} onClick=${drop}>
          <${Icon} name="trash" />
        </button>
      </div>`}
    </header>
    ${piece.versions.length > 1 && html`<${Versions} piece=${piece} />`}
    ${(version || run) && html`<${Sheet} key=${piece.at} piece=${piece} version=${version} />`}
    ${finish === "stopped" && html`<p class="ending">${t("compose.stopped")}</p>`}
    ${error && html`<${Failure} error=${error} hint=${t("draw.change")} />`}
  </article>`;
}

/** The label, and the figures with which the same can be asked for again. */
function About({ piece, version }) {
  const { run, model } = piece;
  const { facts, seed, took, act, labelled } = version ?? {};
  const kinds = fields.value.find((field) => field.name === "kind")?.choices ?? [];
  const kind = kinds.find((one) => one.value === facts?.kind);
  const figures = [
    kind ? pick(kind.label) : facts?.kind,
    facts?.key && keySaid(facts.key),
    facts?.metre,
    facts?.tempo && t("compose.tempo", { n: number(facts.tempo) }),
    facts && t(facts.bars === 1 ? "compose.bars.one" : "compose.bars", { n: number(facts.bars) }),
    act && act !== "given" && act !== "harmonise" && model,
    seed && act !== "given" && act !== "harmonise" && t("stats.seed", { n: seed }),
    took !== undefined && t("stats.elapsed", { n: number(took / 1000, 1) }),
  ];
  return html`<p class="by">
    ${(act !== "given" || labelled) && html`<span class="label">${t("label.short")}</span>`}
    ${run && html`<${Progress} run=${run} text=${run.phase.value === "loading" ? t("message.loading") : t(`compose.doing.${run.act}`)} />`}
    ${figures.filter(Boolean).map((text) => html`<span key=${text} class="figure">${text}</span>`)}
  </p>`;
}

/** A key as it is told ("D major") in the present language. */
function keySaid(key) {
  const [tonic, mode] = key.split(" ");
  return t(`compose.mode.${mode}`, { tonic });
}

/** What a version is: the bars that were written, or what was done. */
function named({ act, span }) {
  if (act === "infill" && span) return t("compose.made.infill", { bars: barsSaid(span) });
  return t(`compose.made.${act === "infill" ? "anew" : act}`);
}

const barsSaid = ([from, to]) => (from === to ? number(from) : `${number(from)}–${number(to)}`);

function Versions({ piece }) {
  return html`<fieldset class="modes versions" disabled=${Boolean(piece.run)}>
    <legend class="unseen">${t("compose.versions")}</legend>
    ${piece.versions.map(
      (version, at) => html`<label key=${version.id}>
        <input type="radio" name=${`version-${piece.id}`} checked=${piece.at === at} onChange=${() => look(piece, at)} />
        <span>${number(at + 1)} ${named(version)}</span>
      </label>`,
    )}
  </fieldset>`;
}

/** One version: the roll, the player, and what can be done; or what is written of it so far. */
function Sheet({ piece, version }) {
  const { url, abc, unknown, facts, act, seed, span } = version ?? {};
  const player = usePlayer(url, facts?.seconds);
  const { selected, run, early } = piece;
  const tune = early ?? version?.tune;
  const name = act === "given" ? piece.name.replace(/\.\w+$/, "") : `${piece.name} ${seed}`;
  return html`<div class="sheet">
    ${unknown?.length > 0 && html`<p class="ending">${t("compose.unknown", { words: unknown.join(", ") })}</p>`}
    ${tune
      ? html`<${Roll}
            tune=${tune}
            name=${piece.name}
            selected=${selected}
            fresh=${early ? undefined : span}
            busy=${run?.act === "infill" ? selected : undefined}
            time=${player.time}
            choose=${(bars) => early || select(piece, bars)}
            seek=${player.seek}
          />
          ${tune.tracks.length > 1 && html`<${Tracks} tune=${tune} />`}`
      : run && html`<div class="roll-blank" aria-hidden="true"></div>`}
    ${url &&
    html`<div class="sheet-row">
      <${Player} player=${player} name=${piece.name} />
      <${Save}
        forms=${Object.fromEntries(Object.keys(FORMS).map((form) => [form, t(`compose.form.${form}`)]))}
        make=${(form) => fileOf(piece, version, form)}
        nameFor=${(form) => fileName(name, FORMS[form])}
      />
    </div>`}
    ${act === "given" && !url && !run && html`<div><button type="button" onClick=${() => render(piece)}><${Icon} name="again" />${t("compose.render")}</button></div>`}
    ${version && html`<${Acts} piece=${piece} version=${version} />`}
    ${abc &&
    html`<details class="later">
      <summary>${t("compose.abc")}</summary>
      <div class="abc"><pre tabindex="0" aria-label=${t("compose.abc")}>${abc}</pre><${Copy} text=${abc} /></div>
    </details>`}
  </div>`;
}

const TRACKS = { "": "compose.track.melody", chords: "compose.track.chords", bass: "compose.track.bass" };

function Tracks({ tune }) {
  return html`<ul class="tracks" aria-label=${t("compose.tracks")}>
    ${tune.tracks.map((name, at) => html`<li key=${at} class=${`track-${at % 6}`}>${TRACKS[name] ? t(TRACKS[name]) : name}</li>`)}
  </ul>`;
}

/** Most bars that the server writes at once. */
const MOST = 64;

/** Bars written anew, bars behind it, chords under it. */
function Acts({ piece, version }) {
  const id = useId();
  const [more, setMore] = useState("8");
  const [draft, setDraft] = useState(null); // bars as they are being typed
  const busy = Boolean(underWay.value || piece.run);
  const { selected } = piece;
  const bars = version.tune?.bars;
  const [least, most] = bars ? [bars[0].number, bars.at(-1).number] : [0, 9999];
  const count = Number(more);
  const able = Number.isInteger(count) && count >= 1 && count <= MOST;
  const texts = draft ?? selected?.map(String) ?? ["", ""];
  const commit = () => {
    if (!draft) return;
    const found = draft.filter((text) => /^\s*\d+\s*$/.test(text)).map((text) => Math.min(most, Math.max(least, Number(text))));
    setDraft(null);
    select(piece, found.length > 0 ? [found[0], found.at(-1)] : null);
  };
  const leave = (event) => event.currentTarget.contains(event.relatedTarget) || commit();
  const box = (place) => html`<input
    type="text"
    inputmode="numeric"
    autocomplete="off"
    aria-label=${t(place === 0 ? "compose.from" : "compose.to")}
    value=${texts[place]}
    placeholder="–"
    onInput=${(event) => setDraft(texts.with(place, event.target.value))}
    onKeyDown=${(event) => event.key === "Enter" && commit()}
  />`;
  return html`<div class="tune-acts" role="group" aria-label=${t("compose.acts")}>
    <div class="tune-act">
      <span class="field" onFocusOut=${leave}>${t("compose.infill.bars")} ${box(0)} – ${box(1)}</span>
      <button type="button" disabled=${busy || !(selected || draft)} aria-describedby=${`${id}-mark`} onClick=${() => infill(piece)}>
        <${Icon} name="edit" />${t("compose.infill")}
      </button>
    </div>
    <div class="tune-act">
      <span class="field">
        <label for=${`${id}-more`}>${t("compose.more.bars")}</label>
        <input id=${`${id}-more`} type="text" inputmode="numeric" autocomplete="off" value=${more} aria-invalid=${able ? undefined : "true"} onInput=${(event) => setMore(event.target.value)} />
      </span>
      <button type="button" disabled=${busy || !able} onClick=${() => goOn(piece, count)}><${Icon} name="plus" />${t("compose.continue")}</button>
      ${!version.harmonised &&
      html`<button type="button" disabled=${busy} title=${t("compose.harmonise.help")} onClick=${() => harmonise(piece)}>
        <${Icon} name="note" />${t("compose.harmonise")}
      </button>`}
    </div>
    <small id=${`${id}-mark`}>${t("compose.infill.help")}</small>
  </div>`;
}
