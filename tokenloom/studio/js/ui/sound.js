/** The page of speech: a text is read aloud, or a recording is written down; below it what came of this session. */
import { html, useEffect, useId, useRef, useState } from "../lib.js";
import { lang, number, t } from "../i18n.js";
import { fileName } from "../export.js";
import { canRecord } from "../record.js";
import {
  beginRecording, endRecording, fields, fileOf, hear, learnVoices, mode, MODES, read, recording, removeSounding, sounds,
  soundings, stopSound, type, typed, voices, working,
} from "../speech.js";
import { models, say } from "../state.js";
import { Banner } from "./banner.js";
import { Copy, Lacking, MenuButton, Progress } from "./bits.js";
import { Icon } from "./icons.js";
import { asked, Knob, Words } from "./knobs.js";
import { Failure } from "./message.js";
import { Player, usePlayer } from "./player.js";
import { Save } from "./save.js";
import { complaint, initial } from "./task.js";
import { Wave } from "./wave.js";

/** Languages that are offered; a recogniser knows more, and hears which it is. */
const LANGUAGES = ["en", "zh", "yue", "ja", "ko", "de", "fr", "es", "it", "pt", "ru", "ar", "hi"];

export function Sound() {
  useEffect(() => {
    if (sounds.value) void learnVoices();
  }, [sounds.value]);
  return html`<main class="task sound">
    <header class="head">
      <${MenuButton} />
      <span class="model quiet">${models.value === null ? t("model.loading") : t("nav.sound")}</span>
    </header>
    <${Banner} />
    <div class="task-in">
      <h1>${t("sound.title")}</h1>
      ${sounds.value
        ? html`<${Modes} />${mode.value === "read" ? html`<${Reading} />` : html`<${Hearing} />`}`
        : html`<${Lacking} text=${t("sound.lacking")} command="loom studio" more=${t("sound.lacking.more")} />`}
      <${List} />
      <p class="notice">${t("sound.notice")}</p>
    </div>
  </main>`;
}

function Modes() {
  return html`<fieldset class="modes">
    <legend class="unseen">${t("draw.modes")}</legend>
    ${MODES.map(
      (one) => html`<label key=${one}>
        <input type="radio" name="mode" value=${one} checked=${mode.value === one} onChange=${() => (mode.value = one)} />
        <span>${t(`sound.mode.${one}`)}</span>
      </label>`,
    )}
  </fieldset>`;
}

/** The voices as a choice; the server says which languages each reads. */
function withVoices(field) {
  if (field.name !== "voice" || !voices.value?.length) return field;
  const said = (one) => (one.languages.includes("*") ? one.id : `${one.id} (${one.languages.slice(0, 3).map(language).join(", ")})`);
  const choices = voices.value.map((one) => ({ value: one.id, label: said(one) }));
  return { ...field, choices: [{ value: "auto", label: t("sound.voice.auto") }, ...choices] };
}

/** A language's name in the present one, or its code. */
function language(code) {
  try {
    return new Intl.DisplayNames([lang.value], { type: "language" }).of(code);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return code;
  }
}

const valueOf = (field) => String(typed.value[field.name] ?? initial(field));

/** Stop and go have keys: one button turning into the other within a click would send the form. */
function Reading() {
  const [tried, setTried] = useState(false);
  const all = fields.value;
  const words = all.find((field) => field.name === "input");
  const shared = (field) => ({
    field: { hint: field.name === "seed" ? "0" : undefined, ...withVoices(field) },
    value: valueOf(field),
    set: (value) => type(field.name, value),
    wrong: tried ? complaint(field, valueOf(field)) : "",
  });
  const submit = (event) => {
    event.preventDefault();
    if (working.value) return;
    setTried(true);
    const bad = all.find((field) => complaint(field, valueOf(field)));
    if (bad) event.target.querySelector(`[name="${bad.name}"]`)?.focus();
    else void read(asked(all, valueOf));
  };
  return html`<form class="fields draw-form" onSubmit=${submit} noValidate>
    <p class="lead">${t("sound.lead.read")}</p>
    <div class="asking">
      ${words && html`<${Words} ...${shared(words)} hint=${t("sound.example")} rows=${5} free />`}
      <div class="knobs">
        ${all.filter((field) => field !== words).map((field) => html`<${Knob} key=${field.name} ...${shared(field)} />`)}
      </div>
      ${voices.value?.length === 0 && html`<p class="wrong" role="alert">${t("sound.noVoice")} <code>pip install 'tokenloom[sound]'</code></p>`}
      <div class="actions start">
        ${working.value
          ? html`<button key="stop" type="button" class="halt" onClick=${stopSound}>${t("tasks.stop")}</button>`
          : html`<button key="go" type="submit" class="primary">${t("sound.mode.read")}</button>`}
      </div>
    </div>
  </form>`;
}

const SOUNDS = "audio/*,video/mp4,video/webm,.wav,.mp3,.flac,.ogg,.opus,.m4a,.webm";

/** A recording, by microphone or from a file. */
function Hearing() {
  const id = useId();
  const spoken = typed.value.language ?? "";
  const english = typed.value.translate === "true";
  const how = { language: spoken || undefined, translate: english || undefined };
  const busy = Boolean(working.value);
  const toggle = async () => {
    if (recording.value) await hear(await endRecording(), how);
    else await beginRecording();
  };
  useEffect(() => () => recording.value && stopSound(), []);
  return html`<form class="fields draw-form" onSubmit=${(event) => event.preventDefault()}>
    <p class="lead">${t("sound.lead.hear")}</p>
    <div class="asking">
      <div class="knobs">
        <div class="field knob">
          <label for=${`${id}-language`}>${t("sound.language")}</label>
          <select id=${`${id}-language`} value=${spoken} disabled=${english} onChange=${(event) => type("language", event.target.value)}>
            <option value="">${t("sound.language.heard")}</option>
            ${LANGUAGES.map((code) => html`<option key=${code} value=${code}>${language(code)}</option>`)}
          </select>
        </div>
        <div class="field check knob">
          <input id=${`${id}-english`} type="checkbox" checked=${english} onChange=${(event) => type("translate", String(event.target.checked))} />
          <label for=${`${id}-english`}>${t("sound.translate")}</label>
        </div>
      </div>
      <div class="actions start">
        ${busy
          ? html`<button key="stop" type="button" class="halt" onClick=${stopSound}>${t("tasks.stop")}</button>`
          : html`${canRecord() &&
              html`<button key="mic" type="button" class=${recording.value ? "halt" : "primary"} onClick=${toggle}>
                <${Icon} name="mic" />${t(recording.value ? "mic.end" : "mic.begin")}
              </button>`}
              <${FileChoice} how=${how} />`}
        ${recording.value && html`<${Progress} run=${recording.value} text=${t("mic.on")} />`}
      </div>
      ${!canRecord() && html`<p class="lead">${t("mic.unable")}</p>`}
    </div>
  </form>`;
}

function FileChoice({ how }) {
  return html`<label class="file">
    <input
      type="file"
      class="unseen"
      accept=${SOUNDS}
      onChange=${({ target }) => {
        const [file] = target.files;
        target.value = "";
        if (file) void hear(file, how);
      }}
    />
    <span><${Icon} name="note" />${t("sound.file")}</span>
  </label>`;
}

function List() {
  if (soundings.value.length === 0) return null;
  return html`<section class="gallery" aria-label=${t("sound.gallery")}>
    ${soundings.value.map((one) => html`<${Card} key=${one.id} one=${one} />`)}
  </section>`;
}

/** The beginning of a text, as a name. */
const short = (text) => (text.length > 60 ? `${text.slice(0, 58).trimEnd()}…` : text);

function Card({ one }) {
  const { run, error, finish, took, voice, seconds } = one;
  const name = short(one.name);
  const place = useRef(null);
  useEffect(() => {
    if (run || one.url) place.current.scrollIntoView({ behavior: "smooth", block: "nearest" });
  }, [run]);
  const heard = one.mode === "hear";
  const drop = () => {
    const back = removeSounding(one.id);
    say(t("draw.removed", { name }), back);
  };
  const figures = [
    voice && t("sound.by", { voice }),
    heard && one.language,
    seconds !== undefined && t("sound.seconds", { n: number(seconds, 1) }),
    took !== undefined && !error && t("stats.elapsed", { n: number(took / 1000, 1) }),
  ];
  return html`<article ref=${place} class="work" aria-busy=${run ? "true" : undefined} aria-label=${name}>
    <header>
      <div class="what">
        <h2 dir="auto">${name}</h2>
        <p class="by">
          ${!heard && html`<span class="label">${t("label.short")}</span>`}
          ${run && html`<${Progress} run=${run} text=${t(heard ? "sound.hearing" : "sound.reading")} />`}
          ${figures.filter(Boolean).map((text) => html`<span key=${text} class="figure">${text}</span>`)}
        </p>
      </div>
      ${!run &&
      html`<div class="tools">
        <button type="button" class="bare" aria-label=${t("draw.remove", { name })} title=${t("draw.remove.short")} onClick=${drop}>
          <${Icon} name="trash" />
        </button>
      </div>`}
    </header>
    ${one.url && html`<${Heard} one=${one} name=${name} />`}
    ${heard && one.text !== undefined && html`<${Written} one=${one} name=${name} />`}
    ${finish === "stopped" && html`<p class="ending">${t("sound.stopped")}</p>`}
    ${error && html`<${Failure} error=${error} hint=${t("draw.change")} />`}
  </article>`;
}

/** The player with its waveform. */
function Heard({ one, name }) {
  const player = usePlayer(one.url, one.seconds);
  return html`<div class="sheet">
    ${one.peaks && html`<${Wave} peaks=${one.peaks} player=${player} />`}
    <div class="sheet-row">
      <${Player} player=${player} name=${name} />
      ${one.mode === "read" &&
      html`<${Save}
        forms=${{ mp3: "MP3", wav: "WAV", flac: "FLAC", opus: "Opus" }}
        make=${(form) => fileOf(one, form)}
        nameFor=${(form) => fileName(name, form)}
      />`}
    </div>
  </div>`;
}

/** What was said. */
function Written({ one, name }) {
  if (!one.text) return html`<p class="ending">${t("sound.nothing")}</p>`;
  const texts = { txt: `${one.text}\n`, ...one.subtitles };
  const names = { txt: t("sound.form.txt"), srt: "SRT", vtt: "WebVTT" };
  const forms = Object.fromEntries(Object.keys(texts).map((form) => [form, names[form]]));
  const make = async (form) => new Blob([texts[form]], { type: "text/plain" });
  return html`<p class="said-of" dir="auto">${one.text}</p>
    <div class="tools">
      <${Copy} text=${one.text} />
      <${Save} forms=${forms} make=${make} nameFor=${(form) => fileName(name.replace(/\.\w+$/, ""), form)} />
    </div>`;
}
