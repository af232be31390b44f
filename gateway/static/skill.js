// What the champion is worth beside the baselines, said plainly also when it is worth less.
import { number, percent, time } from "./format.js";
import { baselineName } from "./chart.js";
import { element, fillTable, make, show } from "./elements.js";

/** Below this p-value a difference is called one. */
const SIGNIFICANCE = 0.05;
const METHOD_ORDER = ["model", "last-value", "drift", "seasonal-naive"];

function versus(champion, [baseline, skill]) {
  const name = baselineName(baseline).toLowerCase();
  if (skill === 0) return `that of ${name}`;
  const tested = chance(champion, baseline);
  const told = tested ? ` (${tested.text})` : "";
  return `${percent(Math.abs(skill))} ${skill > 0 ? "below" : "above"} that of ${name}${told}`;
}

function verdict(champion) {
  const against = champion.skill["last-value"];
  const folds = `over ${champion.folds} walk-forward folds`;
  const rest = Object.entries(champion.skill).filter(([baseline]) => baseline !== "last-value").map((entry) => versus(champion, entry));
  const restText = rest.length ? ` The error is also ${rest.join(" and ")}.` : "";
  const notes = champion.fallback_reason ? [` The history was short: ${champion.fallback_reason}.`] : [];
  return [...worth(champion, against, folds, restText), ...notes];
}

/** How often two equally good forecasts would differ by as much, in words; nothing for a release without a test. */
function chance(champion, baseline) {
  const found = champion.metrics.model?.[`dm-p-value-${baseline}`];
  return found === undefined ? undefined : { isOne: found < SIGNIFICANCE, text: found < 0.001 ? "p < 0.001" : `p ${found.toFixed(found < 0.1 ? 3 : 2)}` };
}

function worth(champion, against, folds, restText) {
  if (against === undefined) return [`The release does not compare the champion with the last value ${folds}.${restText}`];
  const tested = chance(champion, "last-value");
  const told = tested ? ` (${tested.text})` : "";
  if (tested && !tested.isOne && against !== 0) {
    const size = `mean absolute error ${percent(Math.abs(against))} ${against > 0 ? "lower" : "higher"}`;
    return [make("strong", {}, "No difference to repeating the last value is shown"), `: ${size} ${folds}, which chance does as well${told}.${restText}`];
  }
  if (against > 0) {
    return [make("strong", { class: "good" }, `Better than repeating the last value: mean absolute error ${percent(against)} lower`), ` ${folds}${told}.${restText}`];
  }
  if (against === 0) return [make("strong", {}, "No better than repeating the last value"), ` ${folds}.${restText}`];
  return [
    make("strong", { class: "bad" }, `Worse than repeating the last value: mean absolute error ${percent(-against)} higher`),
    ` ${folds}${told}. Its bands may still be of use; its median tells no more than the last value.${restText}`,
  ];
}

const inPercent = (value) => percent(value / 100);

function directionShare(value, metrics) {
  const [lower, upper] = ["lower", "upper"].map((end) => metrics[`direction-accuracy-${end}`]);
  return lower === undefined ? inPercent(value) : `${inPercent(value)} (${lower.toFixed(0)}–${upper.toFixed(0)})`;
}

/** Metric -> heading and how its number is written; the API has the rest. */
const SHOWN = { mae: ["MAE", number], rmse: ["RMSE", number], mape: ["MAPE", (value) => percent(value / 100, 2)], r2: ["R²", (value) => value.toFixed(3)], crps: ["CRPS", number], "direction-accuracy": ["Direction right", directionShare] };

function shownMetrics(metrics) {
  const known = [...new Set(Object.values(metrics).flatMap(Object.keys))];
  const plain = known.filter((name) => name in SHOWN).map((name) => [name, ...SHOWN[name]]);
  const coverage = known.filter((name) => /^coverage-[\d.]+$/.test(name)).map((name) => [name, `In ${name.slice(9)}\u00a0% band`, inPercent]);
  return [...plain, ...coverage];
}

function fillMetrics(metrics) {
  const rank = (method) => (METHOD_ORDER.includes(method) ? METHOD_ORDER.indexOf(method) : METHOD_ORDER.length);
  const methods = Object.keys(metrics).sort((one, other) => rank(one) - rank(other));
  const columns = shownMetrics(metrics);
  const cell = (method, [name, , write]) => (metrics[method][name] === undefined ? "–" : write(metrics[method][name], metrics[method]));
  const heading = (method) => (method === "model" ? "Champion" : baselineName(method));
  fillTable("metrics", ["", ...columns.map(([, label]) => label)], methods.map((method) => [heading(method), ...columns.map((column) => cell(method, column))]));
}

const STATES = {
  chosen: (entry) => `chosen: ${entry.reason}`,
  compared: () => "compared",
  dropped: (entry) => `dropped at rung ${entry.rung}`,
  "not-possible": (entry) => `not possible: ${entry.reason}`,
  "not-reached": () => "not reached in the budget",
};

function candidateName(entry) {
  const members = entry.members?.length ? ` of ${entry.members.join(", ")}` : "";
  const settings = Object.entries(entry.hyperparameters ?? {}).filter(([name]) => !name.includes(".")).map(([name, value]) => `${name} ${value}`);
  return `${entry.algorithm}${members}${settings.length ? ` (${settings.join(", ")})` : ""}`;
}

function fillLeaderboard(board) {
  const baselines = METHOD_ORDER.filter((name) => board.some((entry) => name in (entry.skill ?? {})));
  const skill = (entry, name) => (entry.skill?.[name] === undefined ? "–" : percent(entry.skill[name]));
  const mase = (entry) => (entry.metrics?.mase === undefined ? "–" : entry.metrics.mase.toFixed(3));
  const heads = ["Candidate", "What became of it", "MASE", ...baselines.map((name) => `Skill, ${baselineName(name).toLowerCase()}`)];
  fillTable("leaderboard", heads, board.map((entry) => [candidateName(entry), STATES[entry.state](entry), mase(entry), ...baselines.map((name) => skill(entry, name))]));
}

/** Cutoffs, the newest first, below the mean and the deviation over all of them. */
function fillFolds({ fold_metrics: folds, fold_spread: spread, freq }) {
  const columns = shownMetrics(Object.fromEntries(folds.map((fold) => [fold.cutoff, fold.metrics.model])));
  const rivals = METHOD_ORDER.filter((name) => name !== "model" && folds.some((fold) => name in fold.metrics));
  const cells = (metrics) => [
    ...columns.map(([name, , write]) => (metrics.model?.[name] === undefined ? "–" : write(metrics.model[name], metrics.model))),
    ...rivals.map((name) => number(metrics[name]?.mae)),
  ];
  const heads = ["Cutoff", "Until", "Forecasts", ...columns.map(([, label]) => label), ...rivals.map((name) => `MAE, ${baselineName(name).toLowerCase()}`)];
  const over = (part) => Object.fromEntries(Object.entries(spread).map(([method, found]) => [method, Object.fromEntries(Object.entries(found).map(([name, one]) => [name, one[part]]))]));
  const all = spread.model ? [["Mean", "mean"], ["Deviation", "deviation"]] : [];
  const summary = all.map(([label, part]) => [`${label} of ${spread.model.mae.folds}`, "", "", ...cells(over(part))]);
  const lines = [...folds].reverse().map((fold) => [time(fold.cutoff, freq), time(fold.last_time, freq), String(fold.forecasts), ...cells(fold.metrics)]);
  fillTable("folds", heads, [...summary, ...lines]);
}

function versionRow(model, version, onDeploy) {
  const isChampion = version.version === model.champion;
  const against = version.skill?.["last-value"];
  const worth = against === undefined ? "" : `, skill beside the last value ${percent(against)}`;
  const item = make("li", { class: "row" }, make("span", {}, `${version.version} · ${version.algorithm}${worth}`));
  if (isChampion) item.append(make("span", { class: "state up" }, "champion"));
  else {
    const button = make("button", { type: "button", class: "quiet", "aria-label": `Make ${version.version} the champion` }, "Make champion");
    button.addEventListener("click", () => onDeploy(model.model, version.version, button));
    item.append(button);
  }
  return item;
}

/** Show the model of the series (null: none yet); `onDeploy(model, version, button)` answers the buttons. */
export function showModel(model, emptyText, onDeploy) {
  const champion = model?.versions.find((version) => version.version === model.champion);
  show("metrics", Boolean(champion));
  show("versions-box", Boolean(model));
  show("folds-box", Boolean(champion?.fold_metrics.length));
  show("leaderboard-box", Boolean(champion?.leaderboard.length));
  if (model) element("versions").replaceChildren(...model.versions.map((version) => versionRow(model, version, onDeploy)));
  if (!champion) {
    element("skill").replaceChildren(emptyText);
    return;
  }
  element("skill").replaceChildren(...verdict(champion));
  fillMetrics(champion.metrics);
  fillFolds(champion);
  fillLeaderboard(champion.leaderboard);
}
