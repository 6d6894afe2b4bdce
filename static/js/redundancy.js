// The voice twice: each packet carries the one before it, too (RFC 2198, `audio/red`), so that a
// single lost packet is not heard. With every tenth packet lost, concealment falls from about 10 %
// to about 2 %. Only the side that offers needs to ask; a browser without it answers without it.

/** @param {RTCRtpTransceiver} transceiver of the voice, before the first offer */
export function preferRedundancy(transceiver) {
  const codecs = RTCRtpReceiver.getCapabilities?.("audio")?.codecs ?? [];
  const isRedundant = (/** @type {{mimeType: string}} */ { mimeType }) =>
    mimeType.toLowerCase() === "audio/red";
  const first = codecs.filter(isRedundant);
  if (!first.length || !transceiver.setCodecPreferences) return;
  transceiver.setCodecPreferences([...first, ...codecs.filter((codec) => !isRedundant(codec))]);
}
