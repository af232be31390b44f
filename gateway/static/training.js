// One training on the page: asked for, followed by server-sent events (or by asking, where those fail), cancelled.
import * as api from "./api.js";
import { number, percent } from "./format.js";
import { element, hideProblem, say, show, showProblem } from "./elements.js";

const FINAL = new Set(["succeeded", "failed", "cancelled"]);
const POLL_MILLISECONDS = 2000;
const CANCEL_ASKED = "Cancellation asked for.";

let followed = null; // { trainingId, stream, timer, isOver, isCancelAsked }
let onEnd = () => {};

export const isRunning = () => followed !== null && !followed.isOver;
export const isFinal = (event) => FINAL.has(event.state);

/** Return what an event says, as one sentence. */
export function sentence(event) {
  const name = event.model;
  if (event.state === "queued") return `Training of ${name} is waiting for the trainer.`;
  if (event.state === "succeeded") return `Training of ${name} succeeded: version ${event.version || ""}.`;
  if (event.state === "failed") return `Training of ${name} failed.`;
  if (event.state === "cancelled") return `Training of ${name} was cancelled.`;
  return `Training of ${name}: ${percent(event.fraction || 0, 0)}${event.stage ? `, ${event.stage}` : ""}.`;
}

function detail(event) {
  const losses = Object.entries(event.losses || {}).map(([name, loss]) => `${name} loss ${number(loss)}`);
  const epoch = event.epoch === null || event.epoch === undefined ? [] : [`epoch ${event.epoch}`];
  return [...epoch, ...losses, ...(event.reason ? [event.reason] : [])].join(", ");
}

function display(training, event) {
  const isOver = FINAL.has(event.state);
  // What is on its way tells of progress for a while after the cancellation was asked for.
  const isEnding = training.isCancelAsked && !isOver;
  say("training-state", sentence(event));
  say("training-detail", isEnding ? CANCEL_ASKED : detail(event));
  show("training-progress", !isOver);
  element("training-progress").value = event.fraction || 0;
  element("cancel").disabled = isOver || isEnding;
}

function stop(training) {
  training.stream?.close();
  clearTimeout(training.timer);
}

function take(training, event) {
  if (training !== followed || training.isOver) return;
  display(training, event);
  if (!FINAL.has(event.state)) return;
  training.isOver = true;
  stop(training);
  onEnd(event);
}

/** Ask for the newest event now and then: the way when the stream breaks and is not built up again. */
async function poll(training) {
  if (training !== followed || training.isOver) return;
  try {
    const event = await api.training(training.trainingId);
    if (event) take(training, event);
  } catch (error) {
    if (!(error instanceof api.Problem)) throw error;
    say("training-detail", error.message);
  }
  if (!training.isOver) training.timer = setTimeout(() => poll(training), POLL_MILLISECONDS);
}

/** Show a training and everything that becomes of it; one that is followed already goes on. */
export function follow(trainingId, first) {
  if (followed?.trainingId === trainingId) return;
  if (followed) stop(followed);
  const training = { trainingId, stream: null, timer: 0, isOver: false, isCancelAsked: false };
  followed = training;
  if (first) take(training, first);
  if (training.isOver) return;
  training.stream = new EventSource(api.trainingEventsPath(trainingId));
  for (const kind of ["message", "queued", "running", "progress", "succeeded", "failed", "cancelled"]) {
    training.stream.addEventListener(kind, (message) => take(training, JSON.parse(message.data)));
  }
  training.stream.addEventListener("error", () => {
    // The browser reconnects by itself unless the server refused; then asking is what is left.
    if (training.stream.readyState === EventSource.CLOSED && !training.isOver) poll(training);
  });
}

async function guarded(button, work) {
  hideProblem();
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    if (!(error instanceof api.Problem)) throw error;
    showProblem(error);
    button.disabled = false;
  }
}

/** Offer the columns of the shown series as targets; what somebody chose stays chosen. */
export function offerTargets(seriesId, columns, shown) {
  const select = element("target");
  const offered = JSON.stringify([seriesId, columns]);
  if (select.dataset.offered === offered) return;
  select.dataset.offered = offered;
  select.replaceChildren(...columns.map((name) => new Option(name, name, name === shown, name === shown)));
}

/** Wire the form; `seriesId()` says what is trained on, `ended(event)` hears of the end of a training. */
export function start(seriesId, ended) {
  onEnd = ended;
  element("train").addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    const button = submitted.submitter ?? element("train").querySelector("[type=submit]");
    guarded(button, async () => {
      const body = {
        series_id: seriesId(),
        algorithm: element("algorithm").value,
        target: element("target").value,
        window_size: element("window-size").valueAsNumber,
        horizon: element("horizon").valueAsNumber,
      };
      const asked = await api.startTraining(body);
      follow(asked.training_id, { fraction: 0, ...asked, state: asked.state || "queued" });
      button.disabled = false;
    });
  });
  element("cancel").addEventListener("click", async () => {
    const training = followed;
    await guarded(element("cancel"), async () => {
      await api.cancelTraining(training.trainingId);
      training.isCancelAsked = true;
      if (training === followed && !training.isOver) say("training-detail", CANCEL_ASKED);
    });
    // It may have ended while it was asked to, or another one be followed by now.
    element("cancel").disabled = !isRunning() || followed.isCancelAsked;
  });
}
