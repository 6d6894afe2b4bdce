// The buttons around the own picture: microphone, camera, flip, screen, choice of devices.
// Every button says in words what it is now; `aria-pressed` is true while the device is on.

import { canChooseSpeaker } from "./devices.js";
import { _ } from "./i18n.js";
import { Meter } from "./meter.js";
import { byTestId, findHook, onClick, openDrawer, say, show } from "./page.js";

/** @typedef {import("./devices.js").Devices} Devices */
/** @typedef {import("./devices.js").Kind} Kind */

const CORNERS = ["bottom-right", "bottom-left", "top-left", "top-right"];

/**
 * @param {HTMLElement} button
 * @param {boolean} isOn
 * @param {string} words
 */
function press(button, isOn, words) {
  button.setAttribute("aria-pressed", String(isOn));
  const label = button.querySelector("[data-label]") ?? button;
  if (label.textContent !== words) label.textContent = words;
}

export class Controls {
  #devices;
  #microphone = byTestId("toggle-mic", HTMLButtonElement);
  #camera = byTestId("toggle-camera", HTMLButtonElement);
  #screen = findHook("screen-share", HTMLButtonElement);
  #preview = byTestId("local-video", HTMLVideoElement);
  #level = findHook("level", HTMLMeterElement);
  #meter = new Meter();
  /** @type {MediaStreamTrack | null} */
  #metered = null;

  /** @param {Devices} devices */
  constructor(devices) {
    this.#devices = devices;
    this.#preview.muted = true;
    this.#microphone.addEventListener("click", () => {
      devices.switch("audio", !devices.flags.microphone);
    });
    this.#camera.addEventListener("click", () => {
      devices.switch("video", !devices.flags.camera);
    });
    onClick("flip-camera", () => devices.flip());
    this.#screen?.addEventListener("click", () => devices.toggleScreen());
    this.#screen?.toggleAttribute("hidden", !navigator.mediaDevices?.getDisplayMedia);
    onClick("move-self", () => this.#moveSelf());
    onClick("drawer-toggle", () => this.#toggleDrawer());
    openDrawer(!findHook("drawer", HTMLElement)?.hidden);
    devices.on("changed", () => this.#draw());
    this.#draw();
  }

  #draw() {
    const { microphone, camera, screen } = this.#devices.flags;
    press(this.#microphone, microphone, microphone ? _("Microphone on") : _("Microphone off"));
    press(this.#camera, camera, camera ? _("Camera on") : _("Camera off"));
    if (this.#screen) press(this.#screen, screen, screen ? _("Stop sharing") : _("Share screen"));
    this.#drawPreview();
    this.#sayProblem();
    this.#followLevel();
    this.#offerChoices();
  }

  /** An empty stream would keep the page loading for ever. */
  #drawPreview() {
    const { preview } = this.#devices;
    const shown = preview.getTracks().length > 0 ? preview : null;
    if (this.#preview.srcObject !== shown) this.#preview.srcObject = shown;
    if (shown) this.#preview.play().catch(() => undefined);
  }

  #sayProblem() {
    const { audio, video } = this.#devices.problems;
    const isAlone = audio === null && video !== null;
    const words = [
      audio === "denied" && _("The browser does not let us use the microphone."),
      audio && audio !== "denied" && _("We do not find the microphone."),
      video === "denied" && _("The browser does not let us use the camera."),
      video && video !== "denied" && _("We do not find the camera."),
      isAlone && _("You can go on with the voice."),
      audio && _("You can go on: you see, hear and can write messages."),
    ];
    const text = words.filter(Boolean).join(" ");
    say("device-problem", text);
    show("device-problem", text !== "");
  }

  #followLevel() {
    const track = this.#devices.tracks.audio;
    if (!this.#level || track === this.#metered) return;
    this.#metered = track;
    const level = this.#level;
    if (track) this.#meter.start(track, (value) => void (level.value = value));
    else this.#meter.stop();
  }

  async #offerChoices() {
    const { audio, video } = this.#devices.tracks;
    await this.#fill("choose-microphone", "audioinput", audio, (id) => {
      this.#devices.choose("audio", id);
    });
    await this.#fill("choose-camera", "videoinput", video, (id) => {
      this.#devices.choose("video", id);
    });
    if (canChooseSpeaker()) {
      await this.#fill("choose-speaker", "audiooutput", null, (id) => {
        byTestId("remote-video", HTMLVideoElement).setSinkId(id).catch(() => undefined);
      });
    }
    show("speaker-choice", canChooseSpeaker());
    const cameras = await this.#devices.list("videoinput");
    show("flip-camera", cameras.length > 1);
  }

  /**
   * @param {string} hookName
   * @param {MediaDeviceKind} kind
   * @param {MediaStreamTrack | null} current
   * @param {(deviceId: string) => void} choose
   */
  async #fill(hookName, kind, current, choose) {
    const select = findHook(hookName, HTMLSelectElement);
    if (!select) return;
    const devices = await this.#devices.list(kind);
    const shown = devices.map(({ label, deviceId }) => new Option(label || _("Device"), deviceId));
    const chosen = current?.getSettings().deviceId ?? select.value;
    select.replaceChildren(...shown);
    if (chosen) select.value = chosen;
    select.onchange = () => choose(select.value);
  }

  #moveSelf() {
    const self = findHook("self", HTMLElement);
    if (!self) return;
    const next = CORNERS[(CORNERS.indexOf(self.dataset.corner ?? "bottom-right") + 1) % CORNERS.length];
    self.dataset.corner = next;
  }

  #toggleDrawer() {
    openDrawer(findHook("drawer", HTMLElement)?.hidden ?? true);
  }
}
