/** A mask painted on a picture: by mouse, pen or finger, or by keys. What is painted is drawn anew. */
import { html, signal, useEffect, useId, useMemo, useRef, useState } from "../lib.js";
import { number, t } from "../i18n.js";
import { source, strokes } from "../draw.js";
import { drawStroke, markedShare } from "../picture.js";
import { say } from "../state.js";
import { Icon } from "./icons.js";

/** The brush's diameter in percent of the picture's longer side. */
const brush = signal(18);

const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

const undo = () => (strokes.value = strokes.value.slice(0, -1));

function clear() {
  const old = strokes.value;
  strokes.value = [];
  say(t("draw.mask.cleared"), () => (strokes.value = old));
}

const inside = (value, most) => Math.min(most, Math.max(0, value));

export function Mask() {
  const { width, height, url, name } = source.value;
  const canvas = useRef(null);
  const stroke = useRef(null);
  const [cursor, setCursor] = useState(null);
  const id = useId();
  const wide = (Math.max(width, height) * brush.value) / 100;
  const done = strokes.value;
  const share = useMemo(() => markedShare(source.value, done), [done, width, height]);
  useEffect(() => {
    const on = canvas.current.getContext("2d");
    on.clearRect(0, 0, width, height);
    on.strokeStyle = on.fillStyle = "#c2185b";
    for (const one of done) drawStroke(on, one);
  }, [done]);
  const place = (event) => {
    const box = canvas.current.getBoundingClientRect();
    return [((event.clientX - box.left) * width) / box.width, ((event.clientY - box.top) * height) / box.height];
  };
  const down = (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    canvas.current.setPointerCapture(event.pointerId);
    stroke.current = { wide, points: [place(event)] };
    drawStroke(canvas.current.getContext("2d"), stroke.current);
  };
  const move = (event) => {
    const at = place(event);
    setCursor(at);
    if (!stroke.current || !event.isPrimary) return;
    const { points } = stroke.current;
    const from = points.length;
    const passed = event.getCoalescedEvents?.() ?? [];
    points.push(...(passed.length > 0 ? passed.map(place) : [at]));
    drawStroke(canvas.current.getContext("2d"), stroke.current, from);
  };
  const up = () => {
    const one = stroke.current;
    stroke.current = null;
    if (one) strokes.value = [...strokes.value, one];
  };
  const key = (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "z") {
      event.preventDefault();
      undo();
      return;
    }
    const arrow = ARROWS[event.key];
    const dab = event.key === " " || event.key === "Enter";
    if (!arrow && !dab) return;
    event.preventDefault();
    const [x, y] = cursor ?? [width / 2, height / 2];
    const [dx, dy] = arrow ?? [0, 0];
    const to = [inside(x + (dx * wide) / 2, width), inside(y + (dy * wide) / 2, height)];
    setCursor(to);
    if (dab) strokes.value = [...strokes.value, { wide, points: [to] }];
    else if (event.shiftKey) strokes.value = [...strokes.value, { wide, points: [[x, y], to] }];
  };
  const ring = cursor && {
    left: `${(cursor[0] / width) * 100}%`,
    top: `${(cursor[1] / height) * 100}%`,
    width: `${(wide / width) * 100}%`,
  };
  const [brushName, shareId] = [`${id}-brush`, `${id}-share`];
  return html`<div class="masking">
    <div class="paint checked" style=${{ aspectRatio: `${width} / ${height}`, width: `min(100%, ${width < height ? Math.round((360 * width) / height) : 360}px)` }}>
      <img src=${url} alt=${t("draw.source.alt", { text: name })} draggable=${false} />
      <canvas
        ref=${canvas}
        width=${width}
        height=${height}
        tabindex="0"
        role="application"
        aria-label=${t("draw.mask.label")}
        aria-describedby=${`${id}-keys ${shareId}`}
        onPointerDown=${down}
        onPointerMove=${move}
        onPointerUp=${up}
        onPointerCancel=${up}
        onPointerLeave=${() => stroke.current || setCursor(null)}
        onFocus=${(event) => event.target.matches(":focus-visible") && setCursor([width / 2, height / 2])}
        onBlur=${() => setCursor(null)}
        onKeyDown=${key}
      ></canvas>
      ${ring && html`<span class="ring" aria-hidden="true" style=${ring}></span>`}
    </div>
    <div class="brushes">
      <label for=${brushName}>${t("draw.mask.brush")}</label>
      <input
        id=${brushName}
        type="range"
        min="4"
        max="60"
        value=${brush.value}
        onInput=${(event) => (brush.value = Number(event.target.value))}
      />
      <button type="button" class="bare" disabled=${done.length === 0} aria-label=${t("draw.mask.undo")} title=${t("draw.mask.undo")} onClick=${undo}>
        <${Icon} name="undo" />
      </button>
      <button type="button" class="bare" disabled=${done.length === 0} aria-label=${t("draw.mask.clear")} title=${t("draw.mask.clear")} onClick=${clear}>
        <${Icon} name="trash" />
      </button>
    </div>
    <p class="share" id=${shareId} role="status">
      ${done.length > 0 ? t("draw.mask.share", { n: number(Math.max(1, share * 100)) }) : t("draw.mask.hint")}
    </p>
    <p class="unseen" id=${`${id}-keys`}>${t("draw.mask.keys")}</p>
  </div>`;
}
