/**
 * The vendored modules under one roof: `html` builds Preact elements from tagged templates, signals hold state.
 * A component that reads a signal's `.value` renders again when it changes.
 */
import { h, render, Fragment, createRef } from "../vendor/preact.js";
import htm from "../vendor/htm.js";

export { signal, computed, effect, batch, untracked } from "../vendor/signals.js";
export { useEffect, useLayoutEffect, useMemo, useRef, useState, useCallback, useId } from "../vendor/preact-hooks.js";
export const html = htm.bind(h);
export { h, render, Fragment, createRef };
