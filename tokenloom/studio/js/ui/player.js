/** Sounds that are played on the page: one at a time. A player's time is a signal, so that playheads can follow it. */
import { batch, html, signal, useEffect, useMemo } from "../lib.js";
import { t } from "../i18n.js";
import { say } from "../state.js";
import { Play } from "./icons.js";

/** @type {HTMLAudioElement | null} the one that is heard */
let heard = null;

/**
 * A sound by its address; it ends with the component that uses it.
 * @param {string | undefined} url @param {number} [seconds] its length, where it is known before the file is read
 */
export function usePlayer(url, seconds = 0) {
  const player = useMemo(() => playerOf(url, seconds), [url]);
  useEffect(() => player.end, [player]);
  useEffect(() => {
    if (player.length.value === 0) player.length.value = seconds; // a recording does not say how long it is
  }, [player, seconds]);
  return player;
}

function playerOf(url, seconds) {
  const audio = url ? new Audio(url) : null;
  const [playing, time, length] = [signal(false), signal(0), signal(seconds)];
  let frame = 0;
  const follow = () => {
    time.value = audio.currentTime;
    frame = requestAnimationFrame(follow);
  };
  const stopped = () => {
    cancelAnimationFrame(frame);
    batch(() => {
      playing.value = false;
      time.value = audio.ended ? 0 : audio.currentTime;
    });
  };
  const begun = () => {
    if (heard !== audio) heard?.pause();
    heard = audio;
    playing.value = true;
    cancelAnimationFrame(frame);
    follow();
  };
  const measured = () => {
    if (Number.isFinite(audio.duration)) length.value = audio.duration;
  };
  const on = { play: begun, pause: stopped, ended: stopped, durationchange: measured };
  for (const [name, act] of Object.entries(on)) audio?.addEventListener(name, act);
  return {
    playing,
    time,
    length,
    toggle: () => (audio.paused ? begin(audio) : audio.pause()),
    /** @param {number} to seconds */
    seek: (to) => {
      if (audio) audio.currentTime = time.value = to;
    },
    end: () => audio?.pause(),
  };
}

/** Plays, or says that this browser cannot. @param {HTMLAudioElement} audio */
async function begin(audio) {
  try {
    await audio.play();
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    if (error.name !== "AbortError") say(t("sound.unplayable")); // paused before it began
  }
}

/** Minutes and seconds. @param {number} seconds */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** The button and the slider of a player. @param {{player: ReturnType<typeof usePlayer>, name: string}} props */
export function Player({ player, name }) {
  const { playing, time, length, toggle, seek } = player;
  const [now, whole] = [clock(time.value), clock(length.value)];
  const label = t(playing.value ? "player.pause" : "player.play", { name });
  return html`<div class="player">
    <button type="button" class="go" aria-label=${label} title=${label} onClick=${toggle}><${Play} on=${playing.value} /></button>
    <input
      type="range"
      min="0"
      max=${Math.max(length.value, 0.01)}
      step="0.01"
      value=${time.value}
      aria-label=${t("player.place", { name })}
      aria-valuetext=${t("player.time", { now, whole })}
      onInput=${(event) => seek(Number(event.target.value))}
    />
    <span class="figure" aria-hidden="true">${now} / ${whole}</span>
  </div>`;
}
