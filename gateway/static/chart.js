// The chart: history, the fan of the forecast, and the baselines beside it.
import { bands, number, time } from "./format.js";
import { element } from "./elements.js";

const BASELINE_NAMES = { "last-value": "Last value", drift: "Drift", "seasonal-naive": "Seasonal naive" };

export const baselineName = (key) => BASELINE_NAMES[key] || key;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Return the traces of the fan; every line starts at the last observation that the forecast used. */
function fan(forecast, anchor) {
  const times = forecast.steps.map((step) => step.time);
  const x = anchor ? [anchor.time, ...times] : times;
  const from = (values) => (anchor ? [anchor.value, ...values] : values);
  const traces = [];
  const levels = bands(forecast.steps[0].quantiles).map((band) => band.level).reverse();
  levels.forEach((level, index) => {
    const band = forecast.steps.map((step) => bands(step.quantiles).find((one) => one.level === level));
    const edge = { x, mode: "lines", line: { width: 0 }, legendgroup: `level-${level}`, hoverinfo: "skip" };
    const fill = index < levels.length - 1 ? colour("band-outer") : colour("band-inner");
    traces.push({ ...edge, y: from(band.map((one) => one.lower)), showlegend: false });
    traces.push({ ...edge, y: from(band.map((one) => one.upper)), fill: "tonexty", fillcolor: fill, name: `${level} % band` });
  });
  const baselines = Object.entries(forecast.baselines).map(([name, values]) => ({
    x, y: from(values), mode: "lines", name: baselineName(name), visible: name === "last-value" ? true : "legendonly",
    line: { color: colour("baseline"), width: 1.8, dash: name === "last-value" ? "dash" : "dot" }, hovertemplate: "%{y:,.2f}",
  }));
  const median = {
    x, y: from(forecast.steps.map((step) => step.median)), mode: "lines+markers", name: "Median",
    line: { color: colour("median"), width: 2.4 }, marker: { size: 5 }, hovertemplate: "%{y:,.2f}",
  };
  // The baselines are drawn last: a median that is no better often lies on the last value.
  return [...traces, median, ...baselines];
}

function layout(unit, hasWeekends) {
  const axis = { gridcolor: colour("line"), zeroline: false, linecolor: colour("line"), tickcolor: colour("line") };
  return {
    margin: { l: 8, r: 8, t: 8, b: 8 },
    font: { family: "system-ui, sans-serif", size: 12, color: colour("muted") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    hovermode: "x unified",
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("text") } },
    legend: { orientation: "h", x: 0, y: -0.12, yanchor: "top" },
    // Nothing is quoted on a weekend, so the axis leaves it out; `24/7` series trade through it.
    xaxis: { ...axis, type: "date", automargin: true, rangebreaks: hasWeekends ? [] : [{ bounds: ["sat", "mon"] }] },
    yaxis: { ...axis, automargin: true, tickformat: ",", title: unit ? { text: unit, standoff: 8 } : undefined },
    dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom",
  };
}

/** Return the observation at the forecast's cutoff, or null where the history shown does not hold it. */
function anchorOf(history, forecast) {
  const at = history.time.findLastIndex((moment) => Date.parse(moment) === Date.parse(forecast.cutoff));
  return at < 0 || history.values[at] === null ? null : { time: history.time[at], value: history.values[at] };
}

/**
 * Draw `history` ({time, values, freq, calendar, unit}; its last `rows`, 0 for all) and `forecast` (or null).
 */
export function draw(history, forecast, rows) {
  const start = rows ? Math.max(0, history.time.length - rows) : 0;
  const past = {
    x: history.time.slice(start), y: history.values.slice(start), mode: "lines", name: "History",
    line: { color: colour("history"), width: 1.8 }, hovertemplate: "%{y:,.2f}",
  };
  const traces = forecast ? [...fan(forecast, anchorOf(history, forecast)), past] : [past];
  const hasWeekends = history.calendar === "24/7" || !/^1d$/.test(history.freq);
  const label = forecast
    ? `Chart: history up to ${time(history.time.at(-1), history.freq)}, then ${forecast.steps.length} steps with bands; ` +
      `the median of the last step is ${number(forecast.steps.at(-1).median)}. The table below has the numbers.`
    : `Chart: history up to ${time(history.time.at(-1), history.freq)}; no forecast yet.`;
  element("chart").setAttribute("aria-label", label);
  return window.Plotly.react(element("chart"), traces, layout(history.unit, hasWeekends), {
    displaylogo: false, displayModeBar: false, responsive: true,
  });
}

export function clear() {
  window.Plotly.purge(element("chart"));
}
