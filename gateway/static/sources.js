// The series that are fetched by themselves, as /api/v1/sources has them.
import { duration, time } from "./format.js";
import { fillTable, show } from "./elements.js";

const COLUMNS = ["Series", "State", "Next run", "Last ingest", "Newest", "Late", "Last error"];

function minute(text) {
  return text ? time(text, "1min") : "–";
}

function row(source) {
  const error = source.last_error;
  return [
    source.series_id,
    source.state,
    minute(source.next_run),
    source.last_ingest ? source.last_ingest.state : "–",
    source.newest_observation ? time(source.newest_observation, source.schedule.freq) : "–",
    source.late_seconds ? duration(source.late_seconds) : "–",
    source.reason || (error ? `${minute(error.time)}: ${error.reason}` : "–"),
  ];
}

/** Show `sources`; none is no fault. */
export function showSources(sources) {
  show("sources", sources.length > 0);
  show("sources-empty", sources.length === 0);
  fillTable("sources", COLUMNS, sources.map(row));
}
