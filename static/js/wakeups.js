// The moments when a page may have a line again. Network information is used where it exists
// (Chromium: about 10 ms after the change); elsewhere the heartbeat finds a dead line.

/** @typedef {EventTarget & {type?: string}} NetworkInformation */

const CHANGE_SETTLES_MS = 10;

/** @param {(isNetworkNew: boolean) => void} wake */
export function watchWakeups(wake) {
  addEventListener("online", () => wake(true));
  addEventListener("offline", () => wake(false));
  addEventListener("pageshow", () => wake(false));
  document.addEventListener("resume", () => wake(false));
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") wake(false);
  });
  const { connection } = /** @type {{connection?: NetworkInformation}} */ (navigator);
  let knownType = connection?.type;
  let isNew = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let settling;
  connection?.addEventListener("change", () => {
    isNew ||= connection.type !== knownType;
    knownType = connection.type;
    clearTimeout(settling);
    settling = setTimeout(() => {
      wake(isNew);
      isNew = false;
    }, CHANGE_SETTLES_MS);
  });
}
