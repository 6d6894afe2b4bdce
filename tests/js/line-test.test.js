import assert from "node:assert/strict";
import { test } from "node:test";

import { mediaFigures } from "../../static/js/line-test-echo.js";
import { probeSocket, relayStep, WayClosed, within } from "../../static/js/line-test-probes.js";

/** A socket that answers a greeting as the test says. */
function socketThat(answer) {
  return class {
    constructor() {
      queueMicrotask(() => this.onopen());
    }

    send(text) {
      assert.equal(JSON.parse(text).type, "hello");
      queueMicrotask(() => answer(this));
    }

    close() {
      this.isClosed = true;
    }
  };
}

const bye = (socket) => socket.onmessage({ data: '{"type":"bye","reason":"ticket_refused"}' });

test("a proper refusal proves the way to the server", async () => {
  assert.ok((await probeSocket("ws://here/ws", socketThat(bye))) >= 0);
});

test("a socket that closes without a word proves nothing", async () => {
  const Socket = socketThat((socket) => {
    socket.onmessage({ data: "<html>a proxy</html>" });
    socket.onclose();
  });

  await assert.rejects(probeSocket("ws://here/ws", Socket), WayClosed);
});

test("each relay belongs to its transport", () => {
  assert.equal(relayStep("turn:t.example.it:3478"), "relay_udp");
  assert.equal(relayStep("turn:t.example.it:3478?transport=udp"), "relay_udp");
  assert.equal(relayStep("turn:t.example.it:3478?transport=tcp"), "relay_tcp");
  assert.equal(relayStep("turns:t.example.it:443?transport=tcp"), "relay_tls");
  assert.equal(relayStep("stun:t.example.it:3478"), null);
});

test("what takes too long ends", async () => {
  await assert.rejects(within(1, new Promise(() => undefined)), WayClosed);
  assert.equal(await within(1000, Promise.resolve(7)), 7);
});

test("loss is counted over the whole test, each way by who missed the packets", () => {
  const figures = mediaFigures([
    { type: "outbound-rtp", kind: "audio", packetsSent: 300 },
    { type: "outbound-rtp", kind: "video", packetsSent: 700 },
    { type: "remote-inbound-rtp", kind: "audio", packetsLost: 30, jitter: 0.004 },
    { type: "remote-inbound-rtp", kind: "video", packetsLost: -2 },
    { type: "inbound-rtp", kind: "audio", packetsReceived: 270, packetsLost: 0, jitter: 0.008 },
    { type: "inbound-rtp", kind: "video", packetsReceived: 130, packetsLost: 100 },
  ]);

  assert.deepEqual(figures, {
    arrived: 400,
    up_loss_percent: 3,
    down_loss_percent: 20,
    up_jitter_ms: 4,
    down_jitter_ms: 8,
  });
});

test("nothing that arrived is nothing, not a fault of the sum", () => {
  assert.equal(mediaFigures([]).arrived, 0);
});
