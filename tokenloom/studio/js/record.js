/** The microphone, where the browser lets the page have it: https or localhost, and the person's consent. */

/** @returns {boolean} whether this browser could record here */
export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia && globalThis.MediaRecorder);

const ENDINGS = [["mp4", "m4a"], ["ogg", "ogg"], ["webm", "webm"]];

/**
 * Begins to record. Throws a DOMException where it may not or cannot.
 * @returns {Promise<{started: number, stop: () => Promise<File>, cancel: () => void}>}
 */
export async function record() {
  const input = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(input);
  const pieces = [];
  const release = () => input.getTracks().forEach((track) => track.stop());
  recorder.addEventListener("dataavailable", ({ data }) => pieces.push(data));
  recorder.addEventListener("stop", release);
  recorder.start();
  return {
    started: performance.now(),
    stop: () =>
      new Promise((resolve) => {
        recorder.addEventListener("stop", () => {
          const type = recorder.mimeType || "audio/webm";
          const ending = ENDINGS.find(([word]) => type.includes(word))?.[1] ?? "webm";
          resolve(new File(pieces, `recording.${ending}`, { type }));
        });
        recorder.stop();
      }),
    cancel: () => recorder.state === "inactive" || recorder.stop(),
  };
}
