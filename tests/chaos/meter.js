// Runs in a page before its own scripts and keeps what happens to its media, for the checks to
// read: when each frame of the remote picture was painted, what of the voice has come so far,
// the turns of every peer connection and socket, and when the page said that it reconnects. It
// changes nothing.
(() => {
  const EVERY_MS = 100;
  const meter = { frames: [], voice: [], turns: [] };
  const connections = [];
  const known = new WeakMap();
  const totals = { packets: 0, samples: 0, concealed: 0, energy: 0, picturesBytes: 0, lost: 0 };
  window.meter = meter;
  window.meterConnections = connections;

  const tell = (what) => meter.turns.push([Date.now(), what]);

  window.RTCPeerConnection = new Proxy(window.RTCPeerConnection, {
    construct(Original, given) {
      const connection = new Original(...given);
      const number = connections.push(connection);
      connection.addEventListener("connectionstatechange", () =>
        tell(`connection ${number} ${connection.connectionState}`),
      );
      return connection;
    },
  });

  window.WebSocket = new Proxy(window.WebSocket, {
    construct(Original, given) {
      const socket = new Original(...given);
      tell("socket new");
      socket.addEventListener("open", () => tell("socket open"));
      socket.addEventListener("close", () => tell("socket close"));
      return socket;
    },
  });

  /** @param {RTCPeerConnection} connection */
  const count = async (connection) => {
    const before = known.get(connection) ?? {};
    const now = {};
    for (const report of (await connection.getStats()).values()) {
      if (report.type !== "inbound-rtp") continue;
      if (report.kind === "video") {
        now.picturesBytes = report.bytesReceived ?? 0;
        continue;
      }
      now.packets = report.packetsReceived ?? 0;
      now.lost = report.packetsLost ?? 0;
      now.samples = report.totalSamplesReceived ?? 0;
      now.concealed = (report.concealedSamples ?? 0) - (report.silentConcealedSamples ?? 0);
      now.energy = report.totalAudioEnergy ?? 0;
    }
    for (const [name, value] of Object.entries(now)) totals[name] += value - (before[name] ?? 0);
    known.set(connection, { ...before, ...now });
  };

  let watched = null;
  /** @param {HTMLVideoElement} video */
  const watch = (video) => {
    const keep = (now) => {
      meter.frames.push(performance.timeOrigin + now);
      if (watched === video) video.requestVideoFrameCallback(keep);
    };
    watched = video;
    video.requestVideoFrameCallback(keep);
  };

  let isNoticed = false;
  const lookForNotice = () => {
    const isShown = Boolean(document.querySelector('[data-hook="reconnecting"]:not([hidden])'));
    if (isShown !== isNoticed) tell(isShown ? "notice shown" : "notice hidden");
    isNoticed = isShown;
  };

  setInterval(async () => {
    lookForNotice();
    const video = document.querySelector('[data-testid="remote-video"]');
    if (video && video !== watched) watch(video);
    const open = connections.filter((each) => each.signalingState !== "closed");
    await Promise.all(open.map(count));
    if (open.length > 0) meter.voice.push([Date.now(), ...Object.values(totals)]);
  }, EVERY_MS);
})();
