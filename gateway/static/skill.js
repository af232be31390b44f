// What the champion is worth beside the baselines, said plainly also when it is worth less.
import { number, percent } from "./format.js";
import { baselineName } from "./chart.js";
import { element, fillTable, make, show } from "./elements.js";

const METHOD_ORDER = ["model", "last-value", "drift", "seasonal-naive"];

function versus([baseline, skill]) {
  const name = baselineName(baseline).toLowerCase();
  if (skill === 0) return `equals ${name}`;
  return skill > 0 ? `${percent(skill)} below ${name}` : `${percent(-skill)} above ${name}`;
}

function verdict(champion) {
  const against = champion.skill["last-value"];
  const folds = `over ${champion.folds} walk-forward folds`;
  const rest = Object.entries(champion.skill).filter(([baseline]) => baseline !== "last-value").map(versus);
  const restText = rest.length ? ` Its loss is also ${rest.join(" and ")}.` : "";
  if (against === undefined) return [`The release does not compare the champion with the last value ${folds}.${restText}`];
  if (against > 0) {
    return [make("strong", { class: "good" }, `Better than repeating the last value: loss ${percent(against)} lower`), ` ${folds}.${restText}`];
  }
  if (against === 0) return [make("strong", {}, "No better than repeating the last value"), ` ${folds}.${restText}`];
  return [
    make("strong", { class: "bad" }, `Worse than repeating the last value: loss ${percent(-against)} higher`),
    ` ${folds}. Its bands may still be of use; its median tells no more than the last value.${restText}`,
  ];
}

function fillMetrics(metrics) {
  const rank = (method) => (METHOD_ORDER.includes(method) ? METHOD_ORDER.indexOf(method) : METHOD_ORDER.length);
  const methods = Object.keys(metrics).sort((one, other) => rank(one) - rank(other));
  const names = [...new Set(methods.flatMap((method) => Object.keys(metrics[method])))];
  const heading = (method) => (method === "model" ? "Champion" : baselineName(method));
  const value = (found) => (found === undefined ? "–" : Math.abs(found) >= 1 ? number(found) : found.toPrecision(3));
  fillTable("metrics", ["", ...names], methods.map((method) => [heading(method), ...names.map((name) => value(metrics[method][name]))]));
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
  if (model) element("versions").replaceChildren(...model.versions.map((version) => versionRow(model, version, onDeploy)));
  if (!champion) {
    element("skill").replaceChildren(emptyText);
    return;
  }
  element("skill").replaceChildren(...verdict(champion));
  fillMetrics(champion.metrics);
}
