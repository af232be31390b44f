// Reads an AsyncAPI document on standard input, prints the official parser's findings as JSON.
import { Parser } from "@asyncapi/parser";
import { readFileSync } from "node:fs";

const { document, diagnostics } = await new Parser().parse(readFileSync(0, "utf8"));
const findings = diagnostics.map(({ code, message, path, severity }) => ({ code, message, path: path.join("."), severity }));
console.log(JSON.stringify({ parsed: document !== undefined, findings }));
