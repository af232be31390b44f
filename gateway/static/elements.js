// Small helpers for the page's elements. Text only ever enters as text, never as HTML.

export const element = (id) => document.getElementById(id);

/** Return a new element: `make("td", { class: "strong" }, "text", child, ...)`. */
export function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

/** Say `text` in the element, only where it changes: a screen reader reads every change aloud. */
export function say(id, text) {
  if (element(id).textContent !== text) element(id).textContent = text;
}

export function show(id, isShown) {
  element(id).hidden = !isShown;
}

/** Fill a table: `columns` are headings, each row starts with its heading. */
export function fillTable(id, columns, rows) {
  const table = element(id);
  table.tHead.replaceChildren(make("tr", {}, ...columns.map((column) => make("th", { scope: "col" }, column))));
  table.tBodies[0].replaceChildren(
    ...rows.map(([heading, ...cells]) => make("tr", {}, make("th", { scope: "row" }, heading), ...cells.map((cell) => make("td", {}, cell)))),
  );
}

/** Show a refusal so that a person knows what to change. */
export function showProblem(problem) {
  const faults = problem.errors.map((fault) => make("li", {}, `${fault.field || "body"}: expected ${fault.expected}, found ${fault.found}`));
  const close = make("button", { type: "button", class: "quiet" }, "Dismiss");
  close.addEventListener("click", hideProblem);
  const text = make("div", {}, make("strong", {}, problem.title), make("p", {}, problem.detail));
  if (faults.length && !problem.detail.includes(problem.errors[0].expected)) text.append(make("ul", {}, ...faults));
  if (problem.requestId) text.append(make("p", { class: "muted small" }, `Request ${problem.requestId}`));
  element("problem").replaceChildren(make("div", { class: "row" }, text, close));
  show("problem", true);
}

export function hideProblem() {
  show("problem", false);
}
