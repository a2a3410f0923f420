/** The page's small drawings, on a grid of 20, in the colour of the text around them. */
import { html } from "../lib.js";

const PATHS = {
  plus: "M10 4v12M4 10h12",
  menu: "M3.5 6h13M3.5 10h13M3.5 14h8",
  close: "M5 5l10 10M15 5L5 15",
  send: "M10 16V4.5M5 9.5l5-5 5 5",
  sliders: "M4 6.5h7M15 6.5h1M4 13.5h1M9 13.5h7M13 4.5v4M7 11.5v4",
  more: "M4.5 10h.01M10 10h.01M15.5 10h.01",
  copy: "M7.5 7.5V4.2c0-.4.3-.7.7-.7h7.6c.4 0 .7.3.7.7v7.6c0 .4-.3.7-.7.7h-3.3M4.2 7.5h7.6c.4 0 .7.3.7.7v7.6c0 .4-.3.7-.7.7H4.2a.7.7 0 0 1-.7-.7V8.2c0-.4.3-.7.7-.7z",
  check: "M4 10.5l4 4 8-9",
  again: "M15.8 8.2A6.2 6.2 0 1 0 16 11.8M16.2 4v4.4h-4.4",
  edit: "M12.6 4.4l3 3L7 16l-3.6.6L4 13z",
  trash: "M4 5.5h12M8 5.5V4h4v1.5M5.5 5.5l.7 10.3h7.6l.7-10.3",
  down: "M10 4v11.5M5 10.5l5 5 5-5",
  sun: "M10 2.5v1.5M10 16v1.5M2.5 10H4M16 10h1.5M4.7 4.7l1 1M14.3 14.3l1 1M15.3 4.7l-1 1M5.7 14.3l-1 1M13.2 10a3.2 3.2 0 1 1-6.4 0 3.2 3.2 0 0 1 6.4 0z",
  moon: "M16.5 11.8A6.8 6.8 0 0 1 8.2 3.5a6.8 6.8 0 1 0 8.3 8.3z",
  half: "M10 3.5a6.5 6.5 0 1 0 0 13zM10 3.5a6.5 6.5 0 0 1 0 13",
  task: "M4 5h12M4 10h12M4 15h7",
  key: "M12.5 3.8a3.7 3.7 0 1 1-2.6 6.3L4.5 15.5M6 14l1.8 1.8",
  brush: "M16.3 3.7c-3 .6-6.6 4.2-7.9 6.9l1.9 1.9c2.7-1.3 6-5 6-8.8zM7.6 12.2c-1.9 0-2.6 1.1-2.7 2.5-.1 1-.6 1.6-1.4 1.8 2.4.8 5.8.2 5.9-2.4",
  palette: "M10 3.2c-4 0-7 2.8-7 6.5s3 7.1 6.6 7.1c1.2 0 1.7-.8 1.4-1.7-.4-1.2.3-2.1 1.5-2.1h1.9c1.5 0 2.6-1 2.6-2.7 0-4-3-7.1-7-7.1zM6.6 9.6h.01M8.6 6.6h.01M12.2 6.8h.01",
  vary: "M3.8 3.8h5.4v5.4H3.8zM10.8 3.8h5.4v5.4h-5.4zM3.8 10.8h5.4v5.4H3.8zM13.5 10.8v5.4M10.8 13.5h5.4",
  eye: "M2.8 10c1.7-3 4.2-4.7 7.2-4.7s5.5 1.7 7.2 4.7c-1.7 3-4.2 4.7-7.2 4.7s-5.5-1.7-7.2-4.7zM12.2 10a2.2 2.2 0 1 1-4.4 0 2.2 2.2 0 0 1 4.4 0z",
  undo: "M7 4.5L3.5 8 7 11.5M3.8 8h7.7a4.5 4.5 0 0 1 0 9H8",
  picture: "M3.5 4.5h13v11h-13zM3.5 13l3.7-3.7 3.6 3.7 2.4-2.3 3.3 3.2M12.8 7.6h.01",
  note: "M8 14.5V4.5l8-1.5v9.5M8 14.5a2.2 2.2 0 1 1-2.2-2.2c1.2 0 2.2 1 2.2 2.2zM16 12.5a2.2 2.2 0 1 1-2.2-2.2c1.2 0 2.2 1 2.2 2.2z",
  speaker: "M3.5 8v4h3l4 3.5v-11l-4 3.5zM13.3 7.2a4 4 0 0 1 0 5.6M15.6 5a7 7 0 0 1 0 10",
  mic: "M10 3a2.3 2.3 0 0 1 2.3 2.3v4a2.3 2.3 0 0 1-4.6 0v-4A2.3 2.3 0 0 1 10 3zM5 9.3a5 5 0 0 0 10 0M10 14.3V17M7.5 17h5",
  score: "M3.5 5h13M3.5 8.3h13M3.5 11.6h13M3.5 15h13M7 13.3a1.4 1.1 0 1 1 0-.1zV6",
  warn: "M10 6.5v4.5M10 13.8h.01M10 3l7.5 13.5h-15z",
};

/** @param {{name: keyof typeof PATHS}} props */
export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;
}

export const Stop = () =>
  html`<svg class="icon solid" viewBox="0 0 20 20" aria-hidden="true"><rect x="5.5" y="5.5" width="9" height="9" rx="2" /></svg>`;

/** A solid triangle, or the two bars of a pause. */
export const Play = ({ on }) =>
  html`<svg class="icon solid" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
    <path d=${on ? "M6 4.5h2.8v11H6zM11.2 4.5H14v11h-2.8z" : "M6.5 4.2v11.6l9.3-5.8z"} />
  </svg>`;

const WARP = Array.from({ length: 12 }, (_, at) => 10 + at * 12);

/** A cloth in the making: finished rows above, and a last weft on its way. */
export function Weave() {
  const rows = [14, 24, 34, 44].map((y, row) => ({ y, to: row < 3 ? 152 : 101, over: WARP.filter((_, at) => at % 2 === row % 2) }));
  return html`<svg class="weave" viewBox="0 0 190 76" aria-hidden="true" focusable="false">
    ${WARP.map((x) => html`<path class="warp" d=${`M${x} 4V72`} />`)}
    ${rows.map(
      ({ y, to, over }, row) => html`<g key=${y}>
        <path class="weft" d=${row < 3 ? `M2 ${y}H${to}` : `M2 ${y}H${to}C120 ${y} 124 60 142 58S172 44 186 62`} />
        ${over
          .filter((x) => x < to)
          .map((x) => html`<path class="gap" d=${`M${x} ${y - 4}v8`} /><path class="warp" d=${`M${x} ${y - 5}v10`} />`)}
      </g>`,
    )}
  </svg>`;
}
