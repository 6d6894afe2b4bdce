// The certificates a connection really talks over: SHA-256 of both ends, from the live transport.
// Never from the text of an offer or answer: that is what somebody in the middle would change.

/** @typedef {import("./sas.js").Bytes} Bytes */
/** @typedef {{own: Bytes, peer: Bytes}} Fingerprints */
/** @typedef {Record<string, any>} Report one entry of an RTCStatsReport */

const ALGORITHM = "sha-256";

/** One for all connections of a page, so that a new connection is still the same two ends. */
export const makeCertificate = () =>
  RTCPeerConnection.generateCertificate(
    /** @type {AlgorithmIdentifier} */ ({ name: "ECDSA", namedCurve: "P-256" }),
  );

/**
 * @param {RTCPeerConnection} connection
 * @param {RTCCertificate} certificate its own
 * @returns {Promise<Fingerprints | null>} null before it is up, or when the browser does not tell
 */
export async function findFingerprints(connection, certificate) {
  return (await findInStats(connection)) ?? (await findInTransport(connection, certificate));
}

/**
 * Everything is bundled over one transport: with two, one could be somebody else's.
 * @param {RTCPeerConnection} connection
 */
async function findInStats(connection) {
  const stats = await connection.getStats();
  /** @type {Report[]} */
  const reports = [...stats.values()];
  const [transport, second] = reports.filter(({ type }) => type === "transport");
  if (second) return null;
  const own = findValue(stats.get(transport?.["localCertificateId"]));
  const peer = findValue(stats.get(transport?.["remoteCertificateId"]));
  return own && peer ? { own, peer } : null;
}

/**
 * Firefox tells certificates in its stats since version 154; its long-term version is 153.
 * @param {RTCPeerConnection} connection
 * @param {RTCCertificate} certificate
 */
async function findInTransport({ sctp }, certificate) {
  const [leaf] = sctp?.transport.getRemoteCertificates?.() ?? [];
  const { algorithm, value } =
    certificate.getFingerprints?.().find(({ algorithm }) => algorithm === ALGORITHM) ?? {};
  const own = findValue({ fingerprintAlgorithm: algorithm, fingerprint: value });
  if (!leaf || !own) return null;
  return { own, peer: new Uint8Array(await crypto.subtle.digest("SHA-256", leaf)) };
}

/** @param {Report | undefined} report */
function findValue(report) {
  const { fingerprintAlgorithm, fingerprint } = report ?? {};
  if (fingerprintAlgorithm !== ALGORITHM || !/^(\w\w:){31}\w\w$/.test(fingerprint ?? "")) return null;
  return Uint8Array.from(fingerprint.split(":"), (/** @type {string} */ byte) => parseInt(byte, 16));
}
