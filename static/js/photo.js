// One picture from a camera track in the best resolution there is: a photo of the whole sensor
// where the browser can (ImageCapture), else one frame of the video at its largest.

/** @typedef {"environment" | "user" | "unknown"} Facing */
/** @typedef {{blob: Blob, method: "photo" | "frame", facing: Facing, takenAt: number}} Picture */

const PHOTO_WITHIN_MS = 8000;
const FRAME_SETTLES_MS = 1200;
const LARGEST = { width: { ideal: 4096 }, height: { ideal: 3072 } };
const JPEG_QUALITY = 0.95;

/**
 * @param {MediaStreamTrack} track
 * @param {HTMLVideoElement} view shows the track
 * @returns {Promise<Picture>}
 */
export async function takePicture(track, view) {
  const takenAt = Date.now();
  const facing = facingOf(track);
  const photo = await takePhoto(track).catch(() => null);
  if (photo) return { blob: photo, method: "photo", facing, takenAt };
  return { blob: await takeFrame(track, view), method: "frame", facing, takenAt };
}

/**
 * @param {MediaStreamTrack} track
 * @returns {Facing}
 */
function facingOf(track) {
  const facing = track.getSettings().facingMode;
  return facing === "environment" || facing === "user" ? facing : "unknown";
}

/**
 * @param {MediaStreamTrack} track
 * @returns {Promise<Blob | null>} null where the browser takes no photos
 */
async function takePhoto(track) {
  const Capture = /** @type {any} */ (globalThis).ImageCapture;
  if (!Capture?.prototype.takePhoto) return null;
  const capture = new Capture(track);
  const { imageWidth, imageHeight } = await inTime(capture.getPhotoCapabilities());
  const largest = { imageWidth: imageWidth?.max, imageHeight: imageHeight?.max };
  const isKnown = largest.imageWidth > 0 && largest.imageHeight > 0;
  return inTime(isKnown ? capture.takePhoto(largest).catch(() => capture.takePhoto()) : capture.takePhoto());
}

/**
 * Some phones never answer.
 * @param {Promise<any>} answer
 */
function inTime(answer) {
  const late = new Promise((_resolve, reject) => {
    setTimeout(() => reject(new Error("no photo in time")), PHOTO_WITHIN_MS);
  });
  return Promise.race([answer, late]);
}

/**
 * @param {MediaStreamTrack} track
 * @param {HTMLVideoElement} view
 * @returns {Promise<Blob>}
 */
async function takeFrame(track, view) {
  await track.applyConstraints(LARGEST).catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, FRAME_SETTLES_MS));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [view.videoWidth, view.videoHeight];
  canvas.getContext("2d")?.drawImage(view, 0, 0);
  return new Promise((resolve, reject) => {
    const give = (/** @type {Blob | null} */ blob) => (blob ? resolve(blob) : reject(new Error("no frame")));
    canvas.toBlob(give, "image/jpeg", JPEG_QUALITY);
  });
}
