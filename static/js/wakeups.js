// The moments when a page may have a line again. Network information is used where it exists.

/** @typedef {EventTarget & {type?: string}} NetworkInformation */

const CHANGE_SETTLES_MS = 150;

/** @param {(isNetworkNew: boolean) => void} wake */
export function watchWakeups(wake) {
  addEventListener("online", () => wake(true));
  addEventListener("pageshow", () => wake(false));
  document.addEventListener("resume", () => wake(false));
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") wake(false);
  });
  const { connection } = /** @type {{connection?: NetworkInformation}} */ (navigator);
  let knownType = connection?.type;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let settling;
  connection?.addEventListener("change", () => {
    clearTimeout(settling);
    settling = setTimeout(() => {
      wake(connection.type !== knownType);
      knownType = connection.type;
    }, CHANGE_SETTLES_MS);
  });
}
