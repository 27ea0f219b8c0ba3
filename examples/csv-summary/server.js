// Tells what is in the columns of a CSV file: a service in Node.js, with nothing but what Node brings.
"use strict";

const http = require("node:http");

const LARGEST = 5 * 1024 * 1024; // bytes of a file

// Rows of fields, as RFC 4180 has them: a field in quotes may hold commas, line breaks, and quotes that are doubled.
function parse(text) {
  const rows = [];
  let row = [], field = "", quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c === '"' && text[i + 1] === '"') { field += '"'; i++; }
      else if (c === '"') quoted = false;
      else field += c;
    } else if (c === '"' && field === "") quoted = true;
    else if (c === ",") { row.push(field); field = ""; }
    else if (c === "\n") { row.push(field.replace(/\r$/, "")); rows.push(row); row = []; field = ""; }
    else field += c;
  }
  if (quoted) throw new Error("a field in quotes has no end");
  if (field !== "" || row.length) { row.push(field); rows.push(row); }
  return rows;
}

function summary(text) {
  const [names, ...rows] = parse(text);
  if (!names || !rows.length) throw new Error("there is no row below a row of names");
  rows.forEach((row, i) => {
    if (row.length !== names.length) throw new Error(`row ${i + 2} has ${row.length} fields, not ${names.length}`);
  });
  const columns = names.map((name, i) => column(name, rows.map((row) => row[i]).filter((value) => value !== "")));
  return { rows: rows.length, columns };
}

function column(name, values) {
  const numbers = values.map(Number);
  if (!values.length || numbers.some(Number.isNaN)) {
    return { name, kind: "text", filled: values.length, distinct: new Set(values).size };
  }
  const sum = numbers.reduce((a, b) => a + b, 0);
  const [min, max] = [numbers.reduce((a, b) => Math.min(a, b)), numbers.reduce((a, b) => Math.max(a, b))];
  return { name, kind: "number", filled: values.length, min, max, mean: sum / numbers.length };
}

function answer(response, status, document) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(document));
}

const server = http.createServer((request, response) => {
  if (request.method !== "POST") return answer(response, 405, { error: "POST a CSV file" });
  const chunks = [];
  let size = 0;
  request.on("data", (chunk) => {
    size += chunk.length;
    if (size <= LARGEST) chunks.push(chunk);
  });
  request.on("end", () => {
    if (size > LARGEST) return answer(response, 413, { error: `the file has more than ${LARGEST} bytes` });
    try {
      answer(response, 200, summary(Buffer.concat(chunks).toString("utf8")));
    } catch (error) {
      answer(response, 400, { error: error.message });
    }
  });
});

server.listen(Number(process.env.PORT), process.env.HOST);
process.on("SIGTERM", () => server.close(() => process.exit(0)));
