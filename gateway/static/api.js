// The public HTTP API, and nothing else, as this page uses it.

/** A refusal (RFC 9457 problem document), or a server that does not answer (status 0). */
export class Problem extends Error {
  constructor(status, document) {
    super(document.detail || document.title || `HTTP ${status}`);
    this.status = status;
    this.title = document.title || `HTTP ${status}`;
    this.detail = document.detail || "";
    this.errors = document.errors || [];
    this.requestId = document.x_request_id || "";
  }
}

async function call(path, { method = "GET", body, headers = {} } = {}) {
  const options = { method, headers: { Accept: "application/json", ...headers } };
  const token = globalThis.document.querySelector('meta[name="csrf-token"]');
  if (token && method !== "GET") options.headers["X-CSRF-Token"] = token.content;
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  let text;
  try {
    response = await fetch(path, options);
    text = await response.text();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // so fetch reports a refused connection, and one that ends within the answer
    throw new Problem(0, { title: "The gateway does not answer", detail: "It may be starting; this page tries again." });
  }
  if (response.status === 401) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  let document = {};
  try {
    document = text ? JSON.parse(text) : {};
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    document = { title: `HTTP ${response.status}`, detail: "JSON was expected, the answer is something else." };
    if (response.ok) throw new Problem(response.status, document);
  }
  if (document.type === "/problems/password-change-required") location.assign("/login/password");
  if (!response.ok) throw new Problem(response.status, document);
  return { status: response.status, document, location: response.headers.get("Location") };
}

/** Return what `ask` gives, or null where the thing does not exist yet. */
async function orNull(ask) {
  try {
    return (await ask).document;
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return null;
    throw error;
  }
}

function path(name) {
  return name.split("/").map(encodeURIComponent).join("/");
}

function key() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const series = async () => (await call("/api/v1/series")).document.series;

/** The newest `limit` observations, newest first. */
export const observations = (seriesId, limit) =>
  orNull(call(`/api/v1/series/${path(seriesId)}/observations?order=newest&limit=${limit}`));

export const latestForecast = (seriesId) => orNull(call(`/api/v1/series/${path(seriesId)}/forecasts/latest`));

/** The newest first. */
export const ingests = async () => (await call("/api/v1/ingests?limit=20")).document.ingests;

/** Every series that is fetched by itself. */
export const sources = async () => (await call("/api/v1/sources")).document.sources;

export const models = async () => (await call("/api/v1/models")).document.models;

export const status = async () => (await call("/status")).document;

/** Ask for a forecast; where it is not there within the wait, `location` says where it will be. */
export const askForecast = (body) =>
  call("/api/v1/forecasts", { method: "POST", body, headers: { "Idempotency-Key": key(), Prefer: "wait=10" } });

export const read = (location) => call(location);

export const startTraining = async (body) =>
  (await call("/api/v1/trainings", { method: "POST", body, headers: { "Idempotency-Key": key() } })).document;

/** The newest first. */
export const trainings = async () => (await call("/api/v1/trainings?limit=20")).document.trainings;

export const training = (trainingId) => orNull(call(`/api/v1/trainings/${path(trainingId)}`));

export const cancelTraining = (trainingId) => call(`/api/v1/trainings/${path(trainingId)}`, { method: "DELETE" });

export const trainingEventsPath = (trainingId) => `/api/v1/trainings/${path(trainingId)}/events`;

export const deploy = (model, version) =>
  call(`/api/v1/models/${path(model)}/deploy`, { method: "POST", body: { version, reason: "chosen on the first page" } });
