// The first page: reads the API, shows what it says, and asks it for more.
import * as api from "./api.js";
import { baselineName, clear, draw } from "./chart.js";
import { element, fillTable, hideProblem, make, say, show, showProblem } from "./elements.js";
import { bands, count, number, percent, plural, time, timeParts } from "./format.js";
import { showServices, showUnknown } from "./services.js";
import { showSources } from "./sources.js";
import { showModel } from "./skill.js";
import * as training from "./training.js";

const REFRESH_MILLISECONDS = 5000;
const HISTORY_ROWS = 5000;

const state = {
  seriesId: new URLSearchParams(location.search).get("series_id") || document.documentElement.dataset.defaultSeriesId,
  series: null, // the chosen one's line of GET /api/v1/series
  ingestReason: "", // what the newest ingest of it has to say, e.g. which source could not be reached
  history: null, // { seriesId, lastTime, time, columns }
  forecast: null,
  asked: null, // request id of the forecast that this page asked for: it stands until the series goes on
  model: null,
  rows: 60,
};

const isSame = (one, other) => JSON.stringify(one) === JSON.stringify(other);

function showSeriesList(known) {
  const ids = known.map((series) => series.series_id);
  if (!ids.includes(state.seriesId)) ids.unshift(state.seriesId);
  const select = element("series");
  if (!isSame(ids, Array.from(select.options, (option) => option.value))) {
    select.replaceChildren(...ids.map((id) => make("option", { value: id }, id)));
  }
  select.value = state.seriesId;
}

const SOURCE_TEXTS = {
  sample: "Real prices from the sample that comes with the installation, not from Yahoo: they end in 2013",
  yahoo: "Prices from Yahoo Finance",
  file: "Observations from a file",
  mock: "Invented prices: the mock source",
};

function showHeadline() {
  say("title", state.seriesId);
  document.title = `${state.seriesId} · Foretopic`;
  const { series, history, forecast } = state;
  if (!series) {
    say("source", "No observations of this series have arrived yet.");
  } else {
    const from = SOURCE_TEXTS[series.source] || `Observations from the source ${series.source}`;
    say("source", `${from}. ${plural(series.rows, "observation")}, the last of ${time(series.last_time, series.freq)}.`);
  }
  say("source-note", state.ingestReason);
  const last = history ? lastValue(history) : null;
  figure("last", last ? `Last ${target()}, ${time(last.time, series?.freq)}` : "Last value", last ? number(last.value) : "–", series?.unit);
  stepFigure("next", forecast?.steps[0], "Next step");
  stepFigure("end", forecast?.steps.length > 1 ? forecast.steps.at(-1) : null, "Last step");
}

/** The column that is shown: that of the forecast or the model, else the close, else the first. */
function target() {
  const known = Object.keys(state.history?.columns || {});
  const wanted = [state.forecast?.target, state.model?.versions?.[0]?.target, "close", known[0]];
  return wanted.find((name) => name && (known.length === 0 || known.includes(name))) || "close";
}

function figure(name, label, value, note) {
  say(`${name}-label`, label);
  element(`${name}-value`).replaceChildren(value, ...(note ? [make("small", {}, note)] : []));
}

function stepFigure(name, step, emptyLabel) {
  if (!step) {
    figure(name, emptyLabel, "–");
    return;
  }
  const [narrowest] = bands(step.quantiles);
  const note = narrowest ? `${narrowest.level} %: ${number(narrowest.lower)} to ${number(narrowest.upper)}` : "";
  figure(name, `Median, ${time(step.time, state.series?.freq)}`, number(step.median), note);
}

function values(history) {
  return history.columns[target()] || [];
}

function lastValue(history) {
  const at = values(history).findLastIndex((value) => value !== null);
  return at < 0 ? null : { time: history.time[at], value: values(history)[at] };
}

function showChart() {
  const { history, series, forecast } = state;
  show("empty", !history);
  show("chart", Boolean(history));
  if (!history) {
    clear();
    say("empty", `No observations of ${state.seriesId} yet. The ingestor is asked for them on the first start; POST /api/v1/ingests asks again.`);
    return;
  }
  const shown = { time: history.time, values: values(history), freq: series.freq, calendar: series.calendar, unit: series.unit };
  draw(shown, forecast, state.rows);
}

function dateCell(moment) {
  const [before, day, after] = timeParts(moment, state.series?.freq);
  return make("span", {}, make("span", { class: "roomy" }, before), day, make("span", { class: "roomy" }, after));
}

function showSteps() {
  const { forecast } = state;
  show("steps", Boolean(forecast));
  show("steps-empty", !forecast);
  if (!forecast) {
    say("steps-empty", training.isRunning() ? "No forecast yet: the first model is being trained." : "No forecast of this series yet.");
    say("forecast-note", "");
    return;
  }
  const levels = bands(forecast.steps[0].quantiles).map((band) => band.level);
  // The chart has the other baselines; this is the one to beat.
  const baselines = Object.keys(forecast.baselines).filter((name) => name === "last-value");
  const hasDirection = forecast.steps.some((step) => step.direction_probability !== null && step.direction_probability !== undefined);
  const columns = ["Step", "Date", "Median", ...levels.map((level) => `${level} % band`), ...baselines.map(baselineName), ...(hasDirection ? ["Chance up"] : [])];
  const rows = forecast.steps.map((step, index) => [
    String(index + 1),
    dateCell(step.time),
    number(step.median),
    ...bands(step.quantiles).map((band) => `${number(band.lower)} – ${number(band.upper)}`),
    ...baselines.map((name) => number(forecast.baselines[name][index])),
    ...(hasDirection ? [step.direction_probability === null ? "–" : percent(step.direction_probability, 0)] : []),
  ]);
  fillTable("steps", columns, rows);
  const { name, version, role, algorithm } = forecast.model;
  say("forecast-note", `By ${name}, version ${version} (${algorithm}, ${role}), from observations up to ${time(forecast.cutoff, state.series?.freq)}. Forecast ${forecast.forecast_id}.`);
}

function showSkill() {
  const text = training.isRunning() ? `No champion yet. ${element("training-state").textContent}` : "No model has been released for this series yet.";
  showModel(state.model, text, deploy);
}

/** Let nobody ask before the page knows the model and the columns of the chosen series: it would ask for other ones. */
function showForms(isKnown) {
  for (const fields of document.querySelectorAll("form > fieldset")) fields.disabled = !isKnown;
}

let shown = null;
let rounds = 0;

/** Begin to ask for everything; return what says whether that was begun anew since: then these answers may be older. */
function newRound() {
  rounds += 1;
  const round = rounds;
  return () => round !== rounds;
}

/** Draw again only what is new: a table that is replaced every few seconds cannot be selected or read aloud. */
function showWhatChanged() {
  const { series, history, forecast, model, seriesId, ingestReason } = state;
  const now = [seriesId, series, history?.extent, ingestReason, forecast, model, training.isRunning(), training.isRunning() && element("training-state").textContent];
  if (isSame(now, shown)) return;
  shown = now;
  showAll();
}

function showAll() {
  showHeadline();
  showChart();
  showSteps();
  showSkill();
  training.offerTargets(state.seriesId, Object.keys(state.history?.columns || {}), target());
}

async function loadSeries(isOld) {
  const { seriesId } = state;
  const known = await api.series();
  if (isOld()) return; // e.g. the user has chosen another one meanwhile
  showSeriesList(known);
  state.series = known.find((series) => series.series_id === seriesId) || null;
  if (!state.series) {
    state.history = null; // it may have been there before
    return;
  }
  const ingests = await api.ingests();
  if (isOld()) return;
  state.ingestReason = ingests.find((ingest) => ingest.series_id === seriesId && ingest.state === "succeeded")?.reason || "";
  const extent = [seriesId, state.series.rows, state.series.last_time];
  if (isSame(state.history?.extent ?? null, extent)) return;
  const found = await api.observations(seriesId, HISTORY_ROWS);
  if (found && !isOld()) state.history = { ...columnar(found), extent };
}

/** Return the observations as `{time, columns}`, oldest first; they come newest first. */
function columnar({ observations: { time: times, columns } }) {
  const reversed = Object.entries(columns).map(([name, column]) => [name, column.toReversed()]);
  return { time: times.toReversed(), columns: Object.fromEntries(reversed) };
}

async function loadForecast(isOld) {
  // Before there is a champion there can be no forecast, and a browser reports every 404 as an error.
  if (!state.series || !state.model?.champion) return;
  const latest = await api.latestForecast(state.seriesId);
  if (isOld()) return;
  // What this page asked for stands until a forecast from newer observations comes.
  const isNewer = latest && (!state.asked || Date.parse(latest.cutoff) > Date.parse(state.forecast.cutoff));
  if (!isNewer || isSame(latest, state.forecast)) return;
  state.asked = null;
  state.forecast = latest;
}

/** Whether the champion has learnt from the series, as the one model of all series of a project has. */
const isOf = (seriesId) => ({ champion, versions }) =>
  versions.some((one) => one.version === champion && one.series_ids.includes(seriesId));

async function loadModel(isOld) {
  const known = await api.models();
  if (isOld()) return;
  const name = state.seriesId.replace("@", "-").replaceAll(":", "-");
  state.model = known.find((model) => model.model === name) || known.find(isOf(state.seriesId)) || null;
}

async function loadStatus() {
  try {
    showServices((await api.status()).services);
  } catch (error) {
    if (!(error instanceof api.Problem)) throw error;
    showUnknown(error.message);
  }
}

async function loadSources(isOld) {
  const found = await api.sources();
  if (!isOld()) showSources(found);
}

/** Follow the newest training of the series, e.g. that of the first start, or else the one that runs for another. */
async function findTraining(isOld) {
  if (training.isRunning()) return;
  const known = await api.trainings();
  if (isOld() || training.isRunning()) return; // one that was started meanwhile, and is not among these
  const found = known.find((one) => one.series_id === state.seriesId) || known.find((one) => !training.isFinal(one));
  if (found) training.follow(found.training_id, found);
}

async function refresh() {
  const isOld = newRound();
  await loadStatus();
  if (isOld()) return;
  try {
    await Promise.all([loadSeries(isOld), loadModel(isOld), loadSources(isOld), findTraining(isOld)]);
    if (isOld()) return;
    await loadForecast(isOld);
    if (isOld()) return;
    showWhatChanged();
    showForms(true);
  } catch (error) {
    if (!(error instanceof api.Problem)) throw error;
    if (isOld()) return;
    if (error.status === 0) {
      say("source", `${error.title}: ${error.detail}`);
      shown = null; // so that it goes once the gateway answers, also with nothing new
    } else showProblem(error);
  }
}

async function refreshForEver() {
  if (!document.hidden) await refresh();
  setTimeout(refreshForEver, REFRESH_MILLISECONDS);
}

async function choose(seriesId) {
  Object.assign(state, { seriesId, series: null, ingestReason: "", history: null, forecast: null, asked: null, model: null });
  shown = null; // what is drawn from here on, e.g. for another theme, is not that
  showForms(false);
  say("ask-state", "");
  hideProblem();
  const address = new URL(location.href);
  address.searchParams.set("series_id", seriesId);
  history.replaceState(null, "", address);
  await refresh();
}

async function deploy(model, version, button) {
  button.disabled = true;
  try {
    await api.deploy(model, version);
    await refresh();
  } catch (error) {
    if (!(error instanceof api.Problem)) throw error;
    showProblem(error);
    button.disabled = false;
  }
}

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Return the forecast, asking again where it was not there within the first wait, as long as its series is shown. */
async function awaitForecast(body) {
  let answer = await api.askForecast(body);
  while (answer.status === 202 && body.series_id === state.seriesId) {
    say("ask-state", "Asked; the forecast is on its way.");
    const next = answer.location;
    await wait(500);
    answer = { location: next, ...(await api.read(next)) };
    answer.location ??= next;
  }
  return answer.document;
}

async function ask(submitted) {
  submitted.preventDefault();
  const button = element("ask").querySelector("[type=submit]");
  const levels = element("levels").value.split(/[,;\s]+/).filter(Boolean).map((text) => (Number.isNaN(Number(text)) ? text : Number(text)));
  hideProblem();
  button.disabled = true;
  say("ask-state", "Asking…");
  const started = performance.now();
  const { seriesId } = state;
  try {
    const body = { series_id: seriesId, horizon: element("horizon").valueAsNumber, levels };
    const forecast = await awaitForecast(state.model ? { ...body, model: state.model.model } : body);
    if (seriesId !== state.seriesId) return; // the user has chosen another one meanwhile
    Object.assign(state, { forecast, asked: forecast.request_id });
    showAll();
    say("ask-state", `Answered in ${count(Math.round(performance.now() - started))} ms.`);
  } catch (error) {
    if (!(error instanceof api.Problem)) throw error;
    if (seriesId !== state.seriesId) return;
    say("ask-state", "Refused; the reason stands at the top.");
    showProblem(error);
    element("problem").scrollIntoView({ block: "nearest" });
  } finally {
    button.disabled = false;
  }
}

function startTheme() {
  const order = ["system", "light", "dark"];
  const button = element("theme");
  const current = () => document.documentElement.dataset.theme || "system";
  const label = () => say("theme", `Theme: ${current()}`);
  button.addEventListener("click", () => {
    const next = order[(order.indexOf(current()) + 1) % order.length];
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("theme", next);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error; // storage is switched off: the choice ends with the page
    }
    label();
    showChart();
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showChart);
  label();
}

function startRows() {
  const buttons = Array.from(document.querySelectorAll("[data-rows]"));
  for (const button of buttons) {
    button.addEventListener("click", () => {
      state.rows = Number(button.dataset.rows);
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      showChart();
    });
  }
}

startTheme();
startRows();
element("ask").addEventListener("submit", ask);
element("series").addEventListener("change", (changed) => choose(changed.target.value));
training.start(() => state.seriesId, refresh);
showHeadline();
refreshForEver();
