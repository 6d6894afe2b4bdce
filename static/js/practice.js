// The page of a practice before its visit: says when the patient has come, and turns into the score
// sheet by itself when the visit has its outcome.
//
// `#page-data`: stateUrl. Hooks: patient-away, patient-here.

import { pageData, show } from "./page.js";

const POLL_MS = 3000;
const HERE = ["waiting", "in_visit"];

/** @returns {Promise<string>} the state of the visit; empty when the server does not say */
async function fetchState() {
  const headers = { Accept: "application/json" };
  const response = await fetch(pageData().stateUrl, { headers }).catch(() => null);
  return response?.ok ? (await response.json()).state : "";
}

async function follow() {
  const state = document.hidden ? "" : await fetchState();
  if (state === "ended") return location.reload();
  if (state) {
    show("patient-here", HERE.includes(state));
    show("patient-away", !HERE.includes(state));
  }
  setTimeout(follow, POLL_MS);
}

setTimeout(follow, POLL_MS);
