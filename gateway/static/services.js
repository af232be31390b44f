// The state of the services, as /status has it.
import { ago, count, plural } from "./format.js";
import { element, make } from "./elements.js";

const STATE_WORDS = { up: "up", down: "down", waiting: "starting" };

function row(service) {
  const facts = [];
  // How much work there is, is for operators.
  if (service.backlog !== null) {
    facts.push(service.backlog === 0 ? "no backlog" : `backlog ${count(service.backlog)}`);
    if (service.members > 1) facts.push(plural(service.members, "instance"));
    facts.push(service.last_record_time ? `last record ${ago(service.last_record_time)}` : "no record yet");
  }
  return make(
    "li", {},
    make("div", { class: "row" }, make("span", {}, service.name), make("span", { class: `state ${service.state}` }, STATE_WORDS[service.state])),
    make("div", { class: "muted small" }, facts.join(" · ")),
  );
}

/** Show `services`: `[{name, state: up|down|waiting, backlog, members, last_record_time}]`. */
export function showServices(services) {
  element("services").replaceChildren(...services.map(row));
}

/** Show that nothing is known, and why. */
export function showUnknown(reason) {
  element("services").replaceChildren(
    make("li", {}, make("div", { class: "row" }, make("span", {}, "gateway"), make("span", { class: "state down" }, "no answer")), make("div", { class: "muted small" }, reason)),
  );
}
