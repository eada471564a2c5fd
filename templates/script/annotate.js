// Turns a gallery into one question at a time: answers by key or button, kept in the browser, exported as CSV.
(function () {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("spuraudit-items").textContent);
  const nodes = Array.from(document.querySelectorAll(".item"));
  const body = document.body;
  const ANSWERS = ["yes", "no", "maybe"];
  const store = "spuraudit-annotate/" + data.id + "/" + data.kind;
  const ofNeurons = data.kind === "neurons";
  const HEADER = ofNeurons ? ["neuron", "image", "row", "column", "verdict"] : ["image", "verdict"];
  const nameOf = (image, row, column) => (ofNeurons ? JSON.stringify([image, Number(row), Number(column)]) : image);
  const names = data.items.map((item) => nameOf(item.image, item.row, item.column));
  const own = new Set(names);
  const answers = new Map();
  let current = 0;

  function notice(text) {
    byId("notice").textContent = text;
    byId("notice").hidden = !text;
  }

  // All pages of a folder share one entry: what other pages hold is kept.
  function stored() {
    try {
      const found = JSON.parse(localStorage.getItem(store) || "[]");
      return new Map(found.filter((pair) => Array.isArray(pair) && ANSWERS.includes(pair[1])));
    } catch (error) {
      return new Map();
    }
  }

  function keep() {
    try {
      localStorage.setItem(store, JSON.stringify([...new Map([...stored(), ...answers])]));
    } catch (error) {
      notice("This browser does not keep answers of local files: export before you close the page.");
    }
  }

  function open(from) {
    for (let step = 0; step < names.length; step += 1) {
      const at = (from + step) % names.length;
      if (!answers.has(names[at])) return at;
    }
    return -1;
  }

  function show() {
    const counts = ANSWERS.map((answer) => names.filter((name) => answers.get(name) === answer).length);
    const done = counts[0] + counts[1] + counts[2];
    byId("progress").value = done;
    byId("said").textContent = (done === names.length ? "All " + done + " answered" : done + " of " + names.length + " answered")
      + ": " + ANSWERS.map((answer, index) => counts[index] + " " + answer).join(", ");
    byId("export").classList.toggle("ready", done === names.length);
    byId("export").disabled = done === 0;
    nodes.forEach((node, index) => {
      const answer = answers.get(names[index]);
      const given = node.querySelector(".given");
      node.classList.toggle("current", index === current);
      given.hidden = !answer;
      given.textContent = answer || "";
      given.dataset.answer = answer || "";
    });
    document.querySelectorAll(".answers [data-answer]").forEach((button) => {
      button.setAttribute("aria-pressed", String(answers.get(names[current]) === button.dataset.answer));
    });
    byId("back").disabled = current === 0;
    byId("forth").disabled = current === names.length - 1;
  }

  function go(index, focus) {
    current = Math.min(Math.max(index, 0), names.length - 1);
    show();
    if (focus) nodes[current].querySelector(".question").focus({ preventScroll: true });
  }

  function answer(given, focus) {
    answers.set(names[current], given);
    keep();
    const next = open(current + 1);
    go(next < 0 ? current : next, focus);
  }

  function overview(wanted) {
    body.classList.toggle("overview", wanted);
    byId("overview").setAttribute("aria-pressed", String(wanted));
    byId("answers").hidden = wanted;
    nodes.forEach((node) => { if (wanted) node.tabIndex = 0; else node.removeAttribute("tabindex"); });
    if (wanted) nodes[current].scrollIntoView({ block: "center", behavior: "instant" });
  }

  function choose(node) {
    overview(false);
    go(nodes.indexOf(node), true);
    scrollTo({ top: 0, behavior: "instant" });
  }

  const quoted = (value) => (/[",\r\n]|^\s|\s$/.test(value) ? '"' + value.replace(/"/g, '""') + '"' : value);

  function table() {
    const rows = [HEADER];
    data.items.forEach((item, index) => {
      const given = answers.get(names[index]);
      if (!given) return;
      if (!ofNeurons) rows.push([item.image, given]);
      else item.neurons.forEach((neuron) => rows.push([neuron, item.image, item.row, item.column, given]));
    });
    return rows.map((row) => row.map((cell) => quoted(String(cell))).join(",") + "\n").join("");
  }

  function save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
    link.download = data.file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  // RFC 4180: cells in quotes may hold commas, quotes and line ends. Each row comes with the line that it starts on.
  function parse(text) {
    const rows = [];
    let row = [], cell = "", inside = false, line = 1, start = 1;
    const end = () => { row.push(cell); cell = ""; };
    const close = () => { end(); if (row.length > 1 || row[0].trim()) rows.push([start, row]); row = []; };
    for (let at = 0; at < text.length; at += 1) {
      const sign = text[at];
      if (sign === "\n") line += 1;
      if (inside) {
        if (sign !== '"') cell += sign;
        else if (text[at + 1] === '"') { cell += '"'; at += 1; } else inside = false;
      } else if (sign === '"') inside = true;
      else if (sign === ",") end();
      else if (sign === "\n") { close(); start = line; } else if (sign !== "\r") cell += sign;
    }
    if (cell || row.length) close();
    return rows;
  }

  function load(text, file) {
    const rows = parse(text.replace(/^\ufeff/, ""));
    const head = rows.length ? rows[0][1].map((cell) => cell.trim()) : [];
    if (head.join() !== HEADER.join()) return file + ", line 1: expected the columns " + HEADER.join(",") + ".";
    const found = new Map();
    let strange = 0;
    for (const [line, row] of rows.slice(1)) {
      const given = row[row.length - 1].trim().toLowerCase();
      if (row.length !== HEADER.length || !ANSWERS.includes(given)) return file + ", line " + line + ": expected " + HEADER.join(",") + " with yes, no or maybe.";
      const name = ofNeurons ? nameOf(row[1], row[2], row[3]) : row[0];
      if (own.has(name)) found.set(name, given); else strange += 1;
    }
    found.forEach((given, name) => answers.set(name, given));
    keep();
    const next = open(0);
    go(next < 0 ? 0 : next, false);
    return found.size + " answers taken from " + file + (strange ? "; " + strange + " rows are of other images." : ".");
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, summary")) return;
    const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (pressed === "o") overview(!body.classList.contains("overview"));
    else if (body.classList.contains("overview")) {
      if ((pressed === "Enter" || pressed === " ") && event.target.matches(".item")) choose(event.target); else return;
    } else if (pressed === "y") answer("yes", true);
    else if (pressed === "n") answer("no", true);
    else if (pressed === "m" || (pressed === " " && !event.target.matches("button"))) answer("maybe", true);
    else if (pressed === "b" || pressed === "ArrowLeft" || pressed === "Backspace") go(current - 1, true);
    else if (pressed === "ArrowRight") go(current + 1, true);
    else return;
    event.preventDefault();
  }

  stored().forEach((given, name) => { if (own.has(name)) answers.set(name, given); });
  body.classList.add("one");
  byId("tool").hidden = byId("answers").hidden = false;
  // After a click or a tap the space bar must mean maybe again, not the button that has the focus; event.detail is 0 for keys.
  document.querySelectorAll(".answers [data-answer]").forEach((button) => {
    button.addEventListener("click", (event) => answer(button.dataset.answer, event.detail > 0));
  });
  byId("back").addEventListener("click", (event) => go(current - 1, event.detail > 0));
  byId("forth").addEventListener("click", (event) => go(current + 1, event.detail > 0));
  byId("overview").addEventListener("click", () => overview(!body.classList.contains("overview")));
  byId("items").addEventListener("click", (event) => {
    const node = event.target.closest(".item");
    if (node && body.classList.contains("overview")) choose(node);
  });
  byId("export").addEventListener("click", save);
  byId("import").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (file) notice(load(await file.text(), file.name));
    event.target.value = "";
  });
  addEventListener("keydown", key);
  go(Math.max(open(0), 0), false);
})();
