/** Pictures as this page holds them: read from files, brought to a bearable size, and the masks painted on them. */

/**
 * @typedef {object} Source a picture to work on
 * @property {string} id
 * @property {Blob} file as it is sent
 * @property {string} url of what is shown
 * @property {number} width pixels of the file
 * @property {number} height
 * @property {string} name what it shows, or the file's name
 *
 * @typedef {{wide: number, points: Array<[number, number]>}} Stroke pixels of the source; wide: the brush's diameter
 */

/** Along the longer side: what is larger is drawn smaller here, for the model sees far less. */
const MOST = 1024;

/**
 * A file as a source, or null where this browser reads no picture in it.
 * @param {Blob} file @param {string} name @param {string} id
 * @returns {Promise<Source | null>}
 */
export async function sourceOf(file, name, id) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch (error) {
    if (!(error instanceof DOMException || error instanceof TypeError)) throw error;
    return null;
  }
  const share = Math.min(1, MOST / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * share));
  const height = Math.max(1, Math.round(bitmap.height * share));
  let sent = file;
  if (share < 1) {
    const canvas = sheet(width, height);
    canvas.getContext("2d").drawImage(bitmap, 0, 0, width, height);
    sent = await toPng(canvas);
  }
  bitmap.close();
  return { id, file: sent, url: URL.createObjectURL(sent), width, height, name };
}

function sheet(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

/** @param {HTMLCanvasElement} canvas @returns {Promise<Blob>} */
const toPng = (canvas) => new Promise((resolve) => canvas.toBlob(resolve, "image/png"));

/**
 * Draws a stroke, or from a point of it on, in the context's present colour. A line without length would leave nothing,
 * so each end is a disc.
 * @param {CanvasRenderingContext2D} on @param {Stroke} stroke
 */
export function drawStroke(on, stroke, from = 0) {
  const points = stroke.points.slice(Math.max(0, from - 1));
  on.lineWidth = stroke.wide;
  on.lineCap = on.lineJoin = "round";
  on.beginPath();
  points.forEach(([x, y], at) => (at ? on.lineTo(x, y) : on.moveTo(x, y)));
  on.stroke();
  for (const [x, y] of [points[0], points.at(-1)]) {
    on.beginPath();
    on.arc(x, y, stroke.wide / 2, 0, 2 * Math.PI);
    on.fill();
  }
}

/** The canvas of a mask: white where something new is to be drawn, black elsewhere. */
function maskCanvas(width, height, strokes) {
  const canvas = sheet(width, height);
  const on = canvas.getContext("2d", { willReadFrequently: true });
  on.fillStyle = "black";
  on.fillRect(0, 0, width, height);
  on.strokeStyle = on.fillStyle = "white";
  for (const stroke of strokes) drawStroke(on, stroke);
  return canvas;
}

/** @param {Source} source @param {Stroke[]} strokes @returns {Promise<Blob>} a PNG of the source's size */
export const maskOf = (source, strokes) => toPng(maskCanvas(source.width, source.height, strokes));

/** @param {Source} source @param {Stroke[]} strokes @returns {number} the share of the picture that is marked, 0 to 1 */
export function markedShare(source, strokes) {
  if (strokes.length === 0) return 0;
  const canvas = sheet(64, 64);
  const on = canvas.getContext("2d", { willReadFrequently: true });
  on.drawImage(maskCanvas(source.width, source.height, strokes), 0, 0, 64, 64);
  const { data } = on.getImageData(0, 0, 64, 64);
  let marked = 0;
  for (let at = 0; at < data.length; at += 4) marked += data[at] > 127 ? 1 : 0;
  return marked / 4096;
}

/** @param {string} base64 @param {string} type @returns {Blob} */
export function fromBase64(base64, type) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return new Blob([bytes], { type });
}

/** @param {Blob} file @returns {Promise<string>} a data URL */
export function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
