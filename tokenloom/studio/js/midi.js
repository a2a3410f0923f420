/**
 * MIDI files read as notes and bars: what the piano roll shows and the playhead follows. Sounds nothing.
 * Bars are counted as the server counts them: a first bar that is shorter than its metre is a pickup, number 0.
 * Source: MIDI 1.0, Standard MIDI Files (RP-001).
 *
 * @typedef {{track: number, drums: boolean, pitch: number, velocity: number, start: number, stop: number}} Note ticks
 * @typedef {{number: number, start: number, stop: number}} Bar ticks
 * @typedef {object} Tune
 * @property {Note[]} notes by start
 * @property {string[]} tracks names; "" where there is none
 * @property {Bar[]} bars up to the end of the last note
 * @property {number} quarter ticks of a quarter note
 * @property {number} beat ticks of the first metre's beat
 * @property {boolean} flats the first key is spelled with flats
 * @property {Array<[number, number, number]>} pace from this tick and this second on: seconds of a tick
 */

const DRUMS = 9;

/** @param {Uint8Array} bytes @returns {Tune | null} null where it is no MIDI file, or a damaged one, or has no notes */
export function readMidi(bytes) {
  try {
    return read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // it ends too soon
    return null;
  }
}

/** @param {DataView} view */
function read(view) {
  if (view.getUint32(0) !== 0x4d546864) return null;
  const division = view.getInt16(12);
  const frames = division < 0 ? (-(division >> 8) * (division & 255)) / 2 : 0;
  const file = { notes: [], tracks: [], metres: new Map(), tempos: new Map(), flats: false };
  let at = 8 + view.getUint32(4);
  for (let place = 0; place < view.getUint16(10); ) {
    const size = view.getUint32(at + 4);
    if (view.getUint32(at) === 0x4d54726b) {
      new Uint8Array(view.buffer, view.byteOffset + at + 8, size); // whole, or a RangeError
      readTrack(view, at + 8, at + 8 + size, place++, file);
    }
    at += 8 + size;
  }
  if (file.notes.length === 0) return null;
  const quarter = frames || division;
  file.notes.sort((one, other) => one.start - other.start || one.pitch - other.pitch);
  const length = file.notes.reduce((most, note) => Math.max(most, note.stop), 0);
  return {
    notes: file.notes,
    tracks: file.tracks,
    bars: barsOf(file.metres, quarter, length),
    quarter,
    beat: (4 * quarter) / ([...file.metres].sort(byTick).at(0)?.[1][1] ?? 4),
    flats: file.flats,
    pace: paceOf(frames ? new Map() : file.tempos, quarter),
  };
}

const byTick = (one, other) => one[0] - other[0];

/** One track's notes, a list of the file's for each channel that plays in it, and its metas. */
function readTrack(view, at, end, place, file) {
  let [tick, status] = [0, 0];
  let name = "";
  const held = new Map();
  const mine = new Map();
  const number = () => {
    for (let value = 0; ; ) {
      const byte = view.getUint8(at++);
      value = value * 128 + (byte & 127);
      if (byte < 128) return value;
    }
  };
  const trackOf = (channel) => {
    if (!mine.has(channel)) mine.set(channel, file.tracks.push("") - 1);
    return mine.get(channel);
  };
  const finish = (key) => {
    const note = held.get(key)?.shift();
    if (note) file.notes.push({ ...note, stop: Math.max(tick, note.start + 1) });
  };
  while (at < end) {
    tick += number();
    if (view.getUint8(at) >= 0x80) status = view.getUint8(at++);
    if (status === 0xff || status === 0xf0 || status === 0xf7) {
      const kind = status === 0xff ? view.getUint8(at++) : -1;
      const size = number();
      if (kind === 0x03) name ||= textAt(view, at, size);
      else readMeta(view, at, kind, tick, file);
      at += size;
      continue;
    }
    const [channel, sort] = [status & 15, status >> 4];
    const pitch = view.getUint8(at);
    const velocity = sort === 0xc || sort === 0xd ? 0 : view.getUint8(at + 1);
    at += sort === 0xc || sort === 0xd ? 1 : 2;
    if (sort !== 8 && sort !== 9) continue;
    const key = channel * 128 + pitch;
    if (sort === 8 || velocity === 0) finish(key);
    else {
      const note = { track: trackOf(channel), drums: channel === DRUMS, pitch, velocity, start: tick, stop: tick };
      held.set(key, [...(held.get(key) ?? []), note]);
    }
  }
  for (const [key, notes] of held) while (notes.length > 0) finish(key); // never ended: with the track
  for (const track of mine.values()) file.tracks[track] = place === 0 ? "" : name; // the first names the piece
}

function textAt(view, at, size) {
  return new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + at, size));
}

function readMeta(view, at, kind, tick, file) {
  if (kind === 0x51) file.tempos.set(tick, ((view.getUint8(at) << 16) | view.getUint16(at + 1)) / 1e6);
  else if (kind === 0x58) {
    const [beats, unit] = [view.getUint8(at), 2 ** view.getUint8(at + 1)];
    if (beats >= 1 && beats <= 128 && unit <= 64) file.metres.set(tick, [beats, unit]);
  } else if (kind === 0x59 && tick === 0) file.flats = view.getInt8(at) < 0;
}

/** @returns {Bar[]} */
function barsOf(metres, quarter, length) {
  const changes = [...metres].sort(byTick).map(([tick, [beats, unit]]) => [tick, (beats * 4 * quarter) / unit]);
  if (changes.length === 0 || changes[0][0] > 0) changes.unshift([0, 4 * quarter]);
  const pickup = changes.length > 1 && changes[1][0] < changes[1][1] && changes[1][0] <= changes[0][1];
  const bars = [];
  let start = 0;
  for (const [place, [, size]] of changes.entries()) {
    const last = changes[place + 1]?.[0] ?? Infinity;
    while (start < length && start < last) {
      const stop = Math.min(start + size, last);
      bars.push({ number: bars.length + (pickup ? 0 : 1), start, stop });
      start = stop;
    }
  }
  return bars;
}

/** @returns {Array<[number, number, number]>} */
function paceOf(tempos, quarter) {
  const pace = [[0, 0, 0.5 / quarter]];
  for (const [tick, seconds] of [...tempos].sort(byTick)) {
    pace.push([tick, secondsAt({ pace }, tick), seconds / quarter]);
  }
  return pace;
}

/** @param {{pace: Tune["pace"]}} tune @param {number} tick @returns {number} seconds from the beginning */
export function secondsAt({ pace }, tick) {
  const [from, second, each] = pace.findLast(([start]) => start <= tick) ?? pace[0];
  return second + (tick - from) * each;
}

/** @param {Tune} tune @param {number} seconds @returns {number} the tick that sounds then */
export function tickAt({ pace }, seconds) {
  const [from, second, each] = pace.findLast(([, start]) => start <= seconds) ?? pace[0];
  return from + (seconds - second) / each;
}

const SHARPS = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"];
const FLATS = ["C", "D♭", "D", "E♭", "E", "F", "G♭", "G", "A♭", "A", "B♭", "B"];

/** @param {number} pitch @param {boolean} flats */
export const pitchName = (pitch, flats) => `${(flats ? FLATS : SHARPS)[pitch % 12]}${Math.floor(pitch / 12) - 1}`;
