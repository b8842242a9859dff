"use strict";

// Shows the OpenAPI document that lies beside this page.

const make = (tag, attributes = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
};

const resolve = (root, node) => {
  const { $ref, ...beside } = node;
  return $ref ? { ...beside, ...$ref.slice(2).split("/").reduce((at, key) => at[key], root) } : node;
};

/** A schema as a shape that people can read. `seen` keeps it finite. */
const shape = (root, schema, seen = []) => {
  if (!schema) return "any";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return seen.includes(name) ? name : shape(root, resolve(root, { $ref: schema.$ref }), [...seen, name]);
  }
  if (schema.allOf) {
    const parts = schema.allOf.map((part) => shape(root, part, seen));
    return parts.every((part) => typeof part === "object") ? Object.assign({}, ...parts) : parts;
  }
  if (schema.anyOf) return { "one of": schema.anyOf.map((part) => shape(root, part, seen)) };
  if (schema.properties) {
    return Object.fromEntries(Object.entries(schema.properties).map(([key, value]) => [key, shape(root, value, seen)]));
  }
  if (schema.type === "array") return [shape(root, schema.items, seen)];
  const words = [schema.enum ? schema.enum.map(String).join(" | ") : schema.type || "any"];
  if (schema.format) words.push(schema.format);
  if (schema.nullable) words.push("or null");
  if (schema.readOnly) words.push("(read-only)");
  return words.join(" ");
};

const block = (title, value) => [make("h4", { textContent: title }), make("pre", { textContent: JSON.stringify(value, null, 2) })];

const parameters = (list) => {
  const rows = list.map((parameter) =>
    make("tr", {},
      make("td", {}, make("code", { textContent: parameter.name + (parameter.required ? " *" : "") })),
      make("td", { textContent: parameter.in }),
      make("td", { textContent: [parameter.schema.type, parameter.schema.format].filter(Boolean).join(" ") }),
      make("td", { textContent: parameter.description || "" })));
  return make("table", {}, ...rows);
};

const details = (root, shared, operation) => {
  const body = make("div");
  if (operation.description) body.append(make("p", { textContent: operation.description }));
  const list = [...shared, ...(operation.parameters || [])].map((parameter) => resolve(root, parameter));
  if (list.length) body.append(make("h4", { textContent: "Parameters" }), parameters(list));
  const sent = operation.requestBody?.content?.["application/json"]?.schema;
  if (sent) body.append(...block("Body", shape(root, sent)));
  for (const [code, reference] of Object.entries(operation.responses)) {
    const response = resolve(root, reference);
    const answered = response.content?.["application/json"]?.schema;
    if (answered && code.startsWith("2")) body.append(...block(`${code}: ${response.description}`, shape(root, answered)));
    else body.append(make("p", { textContent: `${code}: ${response.description}` }));
  }
  return body;
};

const show = (root) => {
  document.title = document.querySelector("#title").textContent = root.info.title;
  document.querySelector("#description").textContent = root.info.description;
  const sections = new Map(root.tags.map((tag) => [tag.name, make("section", {}, make("h2", { textContent: tag.name }))]));
  for (const [path, item] of Object.entries(root.paths)) {
    for (const method of ["get", "post", "put", "patch", "delete"].filter((name) => item[name])) {
      const operation = item[method];
      const summary = make("summary", {},
        make("span", { className: "words", textContent: operation.summary }),
        make("span", { className: `method ${method}`, textContent: method.toUpperCase() }),
        make("code", { textContent: path }));
      const entry = make("details", {}, summary);
      entry.dataset.words = `${method} ${path} ${operation.operationId} ${operation.summary}`.toLowerCase();
      entry.addEventListener("toggle", () => {
        if (entry.open && entry.childElementCount === 1) entry.append(details(root, item.parameters || [], operation));
      });
      sections.get(operation.tags[0]).append(entry);
    }
  }
  document.querySelector("#operations").replaceChildren(...sections.values());
};

document.querySelector("#search").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const entry of document.querySelectorAll("details")) entry.hidden = !entry.dataset.words.includes(wanted);
});

fetch("../openapi.json")
  .then((response) => response.json())
  .then(show)
  .catch((error) => document.querySelector("#operations").replaceChildren(make("p", { textContent: `The document cannot be read: ${error}` })));
