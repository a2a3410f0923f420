/** Keeping values in this browser. What cannot be kept is said through `trouble`, not swallowed. */
import { signal } from "./lib.js";

/** null, or the key of the sentence that says why things are not kept. */
export const trouble = signal(null);

/**
 * @param {string} key
 * @param {string | null} value null removes it
 * @returns {boolean} whether it is kept
 */
export function keep(key, value) {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
    trouble.value = null;
    return true;
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    trouble.value = error.name === "QuotaExceededError" ? "error.quota" : "error.storage";
    return false;
  }
}

/** @param {string} key @returns {string | null} */
export function kept(key) {
  try {
    return localStorage.getItem(key);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    trouble.value = "error.storage";
    return null;
  }
}

/** @returns {string[]} the kept keys that start so */
export function keptKeys(start) {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(start));
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    trouble.value = "error.storage";
    return [];
  }
}

/** The same for this tab's life only; where the browser refuses, the value lives as long as the page. */
export function keepForTab(key, value) {
  try {
    if (value === null) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, value);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    trouble.value = "error.storage";
  }
}

/** @param {string} key @returns {string | null} */
export function keptForTab(key) {
  try {
    return sessionStorage.getItem(key);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    trouble.value = "error.storage";
    return null;
  }
}
