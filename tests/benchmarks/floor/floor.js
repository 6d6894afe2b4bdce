// The floor of `admit`: two pages that are connected (ICE and DTLS up, no track) and wait for one
// word. No room, no records, no words on the screen; the same camera and the same first picture
// as the product's.

const query = new URLSearchParams(location.search);
const isClinician = query.get("role") === "clinician";
const button = document.querySelector("button");
const video = document.querySelector("video");

const media = await navigator.mediaDevices.getUserMedia({
  audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { max: 30 } },
});
const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
const remote = new MediaStream();
video.srcObject = remote;
connection.addEventListener("track", ({ track }) => remote.addTrack(track));

const socket = new WebSocket(`ws://${location.host}/ws`);
const send = (message) => socket.send(JSON.stringify(message));

async function describe() {
  await connection.setLocalDescription();
  while (connection.iceGatheringState !== "complete") {
    await new Promise((done) =>
      connection.addEventListener("icegatheringstatechange", done, { once: true }),
    );
  }
  send({ type: "description", description: connection.localDescription });
}

async function startSmall() {
  for (const { sender, receiver } of connection.getTransceivers()) {
    if (receiver.track.kind !== "video") continue;
    const parameters = sender.getParameters();
    for (const encoding of parameters.encodings) encoding.scaleResolutionDownBy = 2;
    await sender.setParameters(parameters);
  }
}

function open() {
  for (const { sender, receiver } of connection.getTransceivers()) {
    const track = media.getTracks().find(({ kind }) => kind === receiver.track.kind);
    sender.replaceTrack(track);
  }
}

async function take({ type, description }) {
  if (type === "welcome" && isClinician) {
    connection.addTransceiver("audio");
    connection.addTransceiver("video");
    await startSmall();
    await describe();
  } else if (type === "welcome") {
    document.documentElement.dataset.state = "waiting";
  } else if (type === "description") {
    await connection.setRemoteDescription(description);
    if (description.type === "answer") return;
    for (const transceiver of connection.getTransceivers()) transceiver.direction = "sendrecv";
    await startSmall();
    await describe();
  } else if (type === "admit") {
    open();
  }
}

connection.addEventListener("connectionstatechange", () => {
  button.disabled = connection.connectionState !== "connected";
});
button.addEventListener("click", () => {
  send({ type: "admit" });
  open();
});
socket.addEventListener("open", () => send({ type: "hello", room: query.get("room") }));
socket.addEventListener("message", async ({ data }) => {
  take(JSON.parse(data instanceof Blob ? await data.text() : data));
});
