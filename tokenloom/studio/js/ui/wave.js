/** A sound as a waveform, drawn from its decoded samples; what has been heard is in another colour. */
import { html, useId, useMemo, useRef } from "../lib.js";

const [WIDE, TALL] = [800, 64];

/** The bars of a waveform, as many as the peaks. */
function barsOf(peaks) {
  const loudest = Math.max(0.05, ...peaks);
  const step = WIDE / peaks.length;
  return Array.from(peaks, (peak, at) => {
    const half = Math.max(0.8, ((peak / loudest) * TALL) / 2 - 1);
    return `M${((at + 0.5) * step).toFixed(1)} ${(TALL / 2 - half).toFixed(1)}v${(2 * half).toFixed(1)}`;
  }).join("");
}

/** The slider beside it does the same for keys. @param {{peaks: Float32Array, player: object}} props */
export function Wave({ peaks, player }) {
  const id = useId();
  const box = useRef(null);
  const { time, length, seek } = player;
  const share = length.value > 0 ? Math.min(1, time.value / length.value) : 0;
  const path = useMemo(() => barsOf(peaks), [peaks]);
  const to = (event) => {
    const { left, width } = box.current.getBoundingClientRect();
    seek(((event.clientX - left) / width) * length.value);
  };
  return html`<svg ref=${box} class="wave" viewBox=${`0 0 ${WIDE} ${TALL}`} preserveAspectRatio="none" aria-hidden="true" focusable="false" onClick=${to}>
    <clipPath id=${id}><rect x="0" y="0" width=${WIDE * share} height=${TALL} /></clipPath>
    <path d=${path} />
    <path class="wave-heard" d=${path} clip-path=${`url(#${id})`} />
  </svg>`;
}
