// What a browser can find out without a partner: does the socket reach the server, does a relay
// give a place. Each probe ends by itself; it throws when the way is closed.

const SOCKET_WITHIN_MS = 10_000;
const RELAY_WITHIN_MS = 8000;
const HELLO = JSON.stringify({ type: "hello", versions: [1] });

/** @typedef {"relay_udp" | "relay_tcp" | "relay_tls"} RelayStep */

/** A way that did not open; `message` says which, for a person who debugs. */
export class WayClosed extends Error {}

/**
 * A greeting without a ticket is refused in a proper frame: the whole way there and back is open.
 * @param {string} url
 * @param {{new (url: string): WebSocket}} [Socket]
 * @returns {Promise<number>} milliseconds
 */
export async function probeSocket(url, Socket = WebSocket) {
  const startedAt = performance.now();
  const socket = new Socket(url);
  try {
    await within(
      SOCKET_WITHIN_MS,
      new Promise((resolve, reject) => {
        socket.onopen = () => socket.send(HELLO);
        socket.onmessage = ({ data }) => isFarewell(data) && resolve(undefined);
        socket.onclose = () => reject(new WayClosed("socket"));
      }),
    );
  } finally {
    socket.close();
  }
  return performance.now() - startedAt;
}

/** @param {unknown} data */
function isFarewell(data) {
  try {
    return JSON.parse(String(data)).type === "bye";
  } catch {
    return false;
  }
}

/**
 * Which step a relay's address belongs to.
 * @param {string} url
 * @returns {RelayStep | null} null for an address that is none of a relay
 */
export function relayStep(url) {
  if (url.startsWith("turns:")) return "relay_tls";
  if (!url.startsWith("turn:")) return null;
  return /[?&]transport=tcp\b/.test(url) ? "relay_tcp" : "relay_udp";
}

/**
 * A relay proves itself by giving a place; nothing is sent through it.
 * @param {RTCIceServer} server with one address
 * @returns {Promise<number>} milliseconds
 */
export async function probeRelay(server) {
  const startedAt = performance.now();
  const connection = new RTCPeerConnection({ iceServers: [server], iceTransportPolicy: "relay" });
  try {
    connection.createDataChannel("probe");
    const place = new Promise((resolve, reject) => {
      connection.onicecandidate = ({ candidate }) => {
        if (candidate?.candidate.includes(" typ relay")) resolve(undefined);
        if (candidate === null) reject(new WayClosed("relay"));
      };
    });
    const found = within(RELAY_WITHIN_MS, place);
    await connection.setLocalDescription();
    await found;
  } finally {
    connection.close();
  }
  return performance.now() - startedAt;
}

/**
 * @template T
 * @param {number} milliseconds
 * @param {Promise<T>} promise
 * @returns {Promise<T>} throws when it takes longer
 */
export function within(milliseconds, promise) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new WayClosed("late")), milliseconds);
  });
  return /** @type {Promise<T>} */ (
    Promise.race([promise, late]).finally(() => clearTimeout(timer))
  );
}
