// Requests to the server. The key, where one is asked for, stays in this tab.

import { $ } from "./dom.js";

const KEY = "rag-key";

export class Failure extends Error {
  constructor(status, error) {
    super(error?.message ?? `the server answered with status ${status}`);
    this.status = status;
    this.type = error?.type ?? "";
    this.hint = error?.hint ?? "";
  }

  get told() {
    return this.hint ? `${this.message} (${this.hint})` : this.message;
  }
}

let asking = null;

async function askForKey(wrong) {
  asking ??= new Promise((resolve) => {
    const dialog = $("key");
    $("key-told").hidden = !wrong;
    dialog.showModal();
    dialog.onclose = () => asking && dialog.showModal(); // a browser lets a second Escape close what may not be closed
    $("key-form").addEventListener(
      "submit",
      () => {
        sessionStorage.setItem(KEY, $("key-field").value);
        $("key-field").value = "";
        asking = null;
        resolve();
      },
      { once: true },
    );
  });
  return asking;
}

// A header takes bytes: with a letter beyond them fetch would fail each time, and the key never be found wrong.
const bytes = (text) => String.fromCharCode(...new TextEncoder().encode(text));

const unreachable = () => new Failure(0, { message: "the server can't be reached", hint: "is rag serve still running?" });

export async function send(path, options = {}) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${bytes(key)}` } : {}) };
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw unreachable();
    }
    if (response.status === 401) {
      await askForKey(key !== null);
      continue;
    }
    if (!response.ok) {
      const body = await response.json().catch(() => null);
      throw new Failure(response.status, body?.error);
    }
    return response;
  }
}

export const get = async (path, parameters = {}, options = {}) =>
  (await send(withQuery(path, parameters), options)).json();

export const post = async (path, body) => (await send(path, asJson(body))).json();

export const asJson = (body) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

export function withQuery(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

// Server-sent events over fetch, so that the key can go along and a POST can be made: yields [name, data].
export async function* events(path, options = {}) {
  const response = await send(path, options);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : unreachable(); // cut off: the server has gone, or the network
    });
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      let name = "message";
      let data = null;
      for (const line of block.split("\n")) {
        if (line.startsWith("event: ")) name = line.slice(7);
        else if (line.startsWith("data: ")) data = line.slice(6);
      }
      if (data !== null) yield [name, JSON.parse(data)];
    }
  }
}
