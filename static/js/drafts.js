// What a doctor has written and the server does not have yet, sealed in this browser: it outlives a
// reload, a crash and a database that is away. AES-GCM with a key that cannot be taken out of the
// browser, one for each draft, bound to the person and the note; gone with it once it is saved.
// Each page keeps its own, so that two tabs over one note do not take each other's words away.
// Logging out wipes everything (the answer's Clear-Site-Data).

const DATABASE = "accanto-drafts";
const STORE = "drafts";
const KEEP_DAYS = 7;
const IV_BYTES = 12;

/** @typedef {import("./note-model.js").Draft} Draft what a note has beyond the server */
/** @typedef {{page: string, draft: Draft}} Left */
/**
 * @typedef {object} SealedDraft
 * @property {string} owner the person, the note and the page
 * @property {CryptoKey} key
 * @property {Uint8Array<ArrayBuffer>} iv
 * @property {ArrayBuffer} sealed
 * @property {number} keptAt
 */

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function answerOf(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @returns {Promise<IDBDatabase>} */
function openDatabase() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "owner" });
  return answerOf(request);
}

/**
 * @template T
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest<T>} act
 */
async function inStore(mode, act) {
  const database = await openDatabase();
  try {
    return await answerOf(act(database.transaction(STORE, mode).objectStore(STORE)));
  } finally {
    database.close();
  }
}

export class Drafts {
  #owner;
  #page;
  /** @type {string[]} of pages before this one, whose words are in this one now */
  #takenUp = [];
  /** @type {Promise<unknown>} one act after the other: a late `keep` must not undo a `drop` */
  #work = Promise.resolve();

  /** @param {string} owner the person and the note */
  constructor(owner) {
    this.#owner = owner;
    this.#page = `${owner} ${crypto.randomUUID()}`;
  }

  /**
   * @param {Draft} draft
   * @returns {Promise<unknown>}
   */
  keep(draft) {
    const replaced = this.#takenUp.splice(0);
    return this.#next(async () => {
      const usages = /** @type {KeyUsage[]} */ (["encrypt", "decrypt"]);
      const key = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, usages);
      const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
      const bytes = new TextEncoder().encode(JSON.stringify(draft));
      const sealed = await crypto.subtle.encrypt(this.#lock(iv), key, bytes);
      const record = { owner: this.#page, key, iv, sealed, keptAt: Date.now() };
      await inStore("readwrite", (store) => store.put(record));
      await this.#forget(replaced);
    });
  }

  /**
   * What other pages of this person over this note have left, the oldest first.
   * @returns {Promise<Left[] | null>}
   */
  find() {
    return this.#next(async () => {
      await this.#forgetOld();
      const range = IDBKeyRange.bound(this.#owner, `${this.#owner} \uffff`);
      /** @type {SealedDraft[]} */
      const records = await inStore("readonly", (store) => store.getAll(range));
      records.sort((one, other) => one.keptAt - other.keptAt);
      const opened = await Promise.allSettled(records.map((record) => this.#open(record)));
      return opened.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    });
  }

  /** @param {Left} left its words are in this page now: the next `keep` or `drop` is for both */
  takeUp({ page }) {
    this.#takenUp.push(page);
  }

  /** @returns {Promise<unknown>} */
  drop() {
    const gone = [this.#page, ...this.#takenUp.splice(0)];
    return this.#next(() => this.#forget(gone));
  }

  /**
   * @param {SealedDraft} record
   * @returns {Promise<Left>}
   */
  async #open({ owner, key, iv, sealed }) {
    const bytes = await crypto.subtle.decrypt(this.#lock(iv), key, sealed);
    return { page: owner, draft: JSON.parse(new TextDecoder().decode(bytes)) };
  }

  /** @param {string[]} pages */
  async #forget(pages) {
    for (const page of pages) await inStore("readwrite", (store) => store.delete(page));
  }

  /** @param {Uint8Array<ArrayBuffer>} iv */
  #lock(iv) {
    return { name: "AES-GCM", iv, additionalData: new TextEncoder().encode(this.#owner) };
  }

  async #forgetOld() {
    const oldest = Date.now() - KEEP_DAYS * 24 * 3600 * 1000;
    /** @type {SealedDraft[]} */
    const records = await inStore("readonly", (store) => store.getAll());
    await this.#forget(records.filter(({ keptAt }) => keptAt < oldest).map(({ owner }) => owner));
  }

  /**
   * A browser without storage (private window) keeps no draft; the editor still has the text.
   * @template T
   * @param {() => Promise<T>} act
   * @returns {Promise<T | null>}
   */
  #next(act) {
    const done = this.#work.then(act).catch((/** @type {Error} */ problem) => {
      console.warn("drafts", problem.name);
      return null;
    });
    this.#work = done;
    return done;
  }
}
