/**
 * A piano roll in rows of bars: time runs to the right, pitch upwards. Bars are marked by dragging, or by keys; a
 * playhead goes with the sound.
 */
import { html, useEffect, useId, useRef, useState } from "../lib.js";
import { number, t } from "../i18n.js";
import { pitchName, secondsAt, tickAt } from "../midi.js";

const LEFT = 34;
const TOP = 18;
/** A bar of four quarter notes has at least so many pixels. */
const BAR_PX = 76;
const ROW_PX = 210;
const BLACK = new Set([1, 3, 6, 8, 10]);

/** Rows of bars, by fours where four fit; a pickup stands before the first row's bars. */
function rowsOf({ bars, quarter }, room) {
  const longest = bars.reduce((most, { start, stop }) => Math.max(most, stop - start), 0);
  let fit = Math.max(1, Math.floor((room * 4 * quarter) / (longest * BAR_PX)));
  if (fit > 4) fit -= fit % 4;
  const first = bars[0].number === 0 ? 1 : 0;
  const rows = [bars.slice(0, fit + first)];
  for (let at = fit + first; at < bars.length; at += fit) rows.push(bars.slice(at, at + fit));
  return rows;
}

/** What is drawn of a tune in so many pixels. */
function layout(tune, width) {
  const room = Math.max(160, width - LEFT - 2);
  const rows = rowsOf(tune, room);
  const spans = rows.map((bars) => ({ bars, start: bars[0].start, stop: bars.at(-1).stop }));
  const longest = Math.max(...spans.map(({ start, stop }) => stop - start));
  const pitches = tune.notes.filter((note) => !note.drums).map((note) => note.pitch);
  const low = pitches.length > 0 ? Math.min(...pitches) - 2 : 58;
  const high = pitches.length > 0 ? Math.max(...pitches) + 2 : 62;
  const step = Math.min(11, Math.max(5, ROW_PX / (high - low + 1)));
  return { spans, tickPx: room / longest, low, high, step, tall: (high - low + 1) * step };
}

/**
 * @param {{tune: import("../midi.js").Tune, selected: [number, number] | null, fresh?: [number, number],
 *   time: {value: number}, busy?: [number, number], choose: (bars: [number, number] | null) => void,
 *   seek: (seconds: number) => void, name: string}} props fresh: bars that are new; busy: bars that are being written
 */
export function Roll({ tune, selected, fresh, busy, time, choose, seek, name }) {
  const box = useRef(null);
  const [width, setWidth] = useState(0);
  const [cursor, setCursor] = useState(null);
  const drag = useRef(null);
  const id = useId();
  useEffect(() => {
    let frame = 0;
    const size = new ResizeObserver(([entry]) => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => setWidth(Math.floor(entry.contentRect.width)));
    });
    size.observe(box.current);
    return () => {
      cancelAnimationFrame(frame);
      size.disconnect();
    };
  }, []);
  const { bars } = tune;
  const anchor = useRef(null);
  const mark = (from, to) => {
    choose([bars[from].number, bars[to].number]);
    seek(secondsAt(tune, bars[Math.min(from, to)].start));
  };
  const single = (at) => selected && selected[0] === selected[1] && selected[0] === bars[at].number;
  const pick = (at) => {
    anchor.current = at;
    if (single(at)) choose(null);
    else mark(at, at);
  };
  const under = (event) => {
    const found = document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-at]");
    return found && box.current.contains(found) ? Number(found.dataset.at) : null;
  };
  const down = (event) => {
    const at = under(event);
    if (event.button !== 0 || !event.isPrimary || at === null) return;
    drag.current = { before: selected, last: at };
    setCursor(at);
    if (event.shiftKey && anchor.current !== null) mark(anchor.current, at);
    else pick(at);
  };
  const move = (event) => {
    const at = drag.current ? under(event) : null;
    if (at === null || at === drag.current.last) return;
    mark(anchor.current, at);
    drag.current.last = at;
  };
  const up = () => (drag.current = null);
  const cancel = () => {
    if (drag.current) choose(drag.current.before); // a finger that scrolls marks nothing
    drag.current = null;
  };
  const plan = width > 0 ? layout(tune, width) : null;
  const key = (event) => {
    const here = cursor ?? 0;
    const perRow = plan?.spans.at(-1).bars.length === bars.length ? bars.length : (plan?.spans[1]?.bars.length ?? 1);
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -perRow, ArrowDown: perRow, Home: -here, End: bars.length };
    if (event.key === "Escape" && selected) {
      event.preventDefault();
      choose(null);
    } else if ((event.ctrlKey || event.metaKey) && event.key === "a") {
      event.preventDefault();
      mark(0, bars.length - 1);
    } else if (event.key === " " || event.key === "Enter") {
      event.preventDefault();
      pick(here);
    } else if (steps[event.key] !== undefined) {
      event.preventDefault();
      const to = Math.min(bars.length - 1, Math.max(0, here + steps[event.key]));
      setCursor(to);
      if (event.shiftKey) {
        anchor.current ??= here;
        mark(anchor.current, to);
      } else anchor.current = null;
    }
  };
  return html`<div
    ref=${box}
    class="roll"
    role="listbox"
    tabindex="0"
    aria-multiselectable="true"
    aria-label=${t("roll.label", { name })}
    aria-describedby=${`${id}-keys`}
    aria-activedescendant=${cursor === null || !plan ? undefined : `${id}-${cursor}`}
    onKeyDown=${key}
    onFocus=${() => setCursor((old) => old ?? 0)}
    onPointerDown=${down}
    onPointerMove=${move}
    onPointerUp=${up}
    onPointerCancel=${cancel}
  >
    ${plan &&
    plan.spans.map(
      (span) => html`<${Row} key=${span.start} ...${{ tune, plan, span, id, cursor, selected, fresh, busy, time }} first=${bars.indexOf(span.bars[0])} />`,
    )}
    <p class="unseen" id=${`${id}-keys`}>${t("roll.keys")}</p>
  </div>`;
}

const within = (bar, range) => Boolean(range) && bar.number >= range[0] && bar.number <= range[1];

function Row({ tune, plan, span, first, id, cursor, selected, fresh, busy, time }) {
  const { tickPx, tall } = plan;
  const x = (tick) => LEFT + (tick - span.start) * tickPx;
  const wide = x(span.stop);
  return html`<div class="roll-row" role="presentation" style=${{ height: `${TOP + tall + 10}px` }}>
    <${Ground} ...${{ tune, plan, span, x, wide, fresh }} />
    ${span.bars.map((bar, at) => {
      const states = ["bar", within(bar, busy) && "busy-bar", cursor === first + at && "at"].filter(Boolean);
      return html`<div
        key=${bar.number}
        id=${`${id}-${first + at}`}
        class=${states.join(" ")}
        role="option"
        data-at=${first + at}
        aria-selected=${within(bar, selected) ? "true" : "false"}
        aria-label=${said(tune, bar)}
        style=${{ left: `${x(bar.start)}px`, width: `${(bar.stop - bar.start) * tickPx}px` }}
      >
        ${(bar.stop - bar.start) * tickPx > 16 && html`<span aria-hidden="true">${bar.number}</span>`}
      </div>`;
    })}
    <${Head} ...${{ tune, span, x, time }} />
  </div>`;
}

/** A bar in words: its number and the first track's notes. */
function said({ notes, flats }, bar) {
  const own = notes.filter((note) => note.track === 0 && note.start >= bar.start && note.start < bar.stop && !note.drums);
  const names = own.map((note) => pitchName(note.pitch, flats)).join(" ");
  return t(names ? "roll.bar" : "roll.bar.empty", { n: number(bar.number), notes: names });
}

/** Keys, beats, bars and notes of a row. */
function Ground({ tune, plan, span, x, wide, fresh }) {
  const { low, high, step, tall } = plan;
  const y = (pitch) => TOP + (high - pitch) * step;
  const pitches = Array.from({ length: high - low + 1 }, (_, at) => low + at);
  const beats = [];
  for (const bar of span.bars) for (let at = bar.start + tune.beat; at < bar.stop; at += tune.beat) beats.push(at);
  const notes = tune.notes.filter((note) => !note.drums && note.stop > span.start && note.start < span.stop);
  const lines = (ticks) => ticks.map((tick) => `M${x(tick).toFixed(1)} ${TOP}v${tall}`).join("");
  return html`<svg width=${wide + 1} height=${TOP + tall + 10} aria-hidden="true" focusable="false">
    <rect class="roll-paper" x=${LEFT} y=${TOP} width=${wide - LEFT} height=${tall} />
    ${pitches.filter((pitch) => BLACK.has(pitch % 12)).map((pitch) => html`<rect class="roll-black" x=${LEFT} y=${y(pitch)} width=${wide - LEFT} height=${step} />`)}
    ${span.bars.filter((bar) => within(bar, fresh)).map((bar) => html`<rect class="roll-fresh" x=${x(bar.start)} y=${TOP} width=${x(bar.stop) - x(bar.start)} height=${tall} />`)}
    <path class="roll-beat" d=${lines(beats)} />
    <path class="roll-line" d=${lines([...span.bars.map((bar) => bar.start), span.stop])} />
    ${pitches.filter((pitch) => pitch % 12 === 0).map((pitch) => html`<text x=${LEFT - 5} y=${y(pitch) + step / 2}>${pitchName(pitch, false)}</text>`)}
    ${notes.map((note) => {
      const [from, to] = [Math.max(note.start, span.start), Math.min(note.stop, span.stop)];
      const width = Math.max(2, (to - from) * plan.tickPx - 1);
      const strength = 0.55 + 0.45 * Math.min(1, note.velocity / 90);
      return html`<rect
        class=${`roll-note track-${note.track % 6}`}
        x=${x(from).toFixed(1)}
        y=${(y(note.pitch) + 0.5).toFixed(1)}
        width=${width.toFixed(1)}
        height=${(step - 1).toFixed(1)}
        rx=${Math.min(2, step / 4)}
        opacity=${strength.toFixed(2)}
      />`;
    })}
  </svg>`;
}

/** The playhead, in the row where it is. */
function Head({ tune, span, x, time }) {
  const tick = tickAt(tune, time.value);
  if (time.value === 0 || tick < span.start || tick >= span.stop) return null;
  return html`<span class="roll-head" style=${{ left: `${x(tick)}px` }} aria-hidden="true"></span>`;
}
