// Enhances a page that is complete without it: theme, sorting, filtering, saving the record, charts that answer the pointer.
(function () {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const read = (id) => { const node = byId(id); return node ? JSON.parse(node.textContent) : null; };
  const drawn = [];

  function theme() {
    const names = ["system", "light", "dark"];
    const button = byId("theme");
    let at = 0;
    button.hidden = false;
    button.addEventListener("click", () => {
      at = (at + 1) % names.length;
      if (at === 0) delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = names[at];
      byId("theme-name").textContent = names[at];
      restyle();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
  }

  function save() {
    const button = byId("save-record");
    const record = byId("spuraudit-record");
    if (!button) return;
    button.hidden = false;
    button.addEventListener("click", () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([record.textContent], { type: "application/json" }));
      link.download = JSON.parse(record.textContent).omitted ? "scan.reduced.json" : "scan.json";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  }

  // "1 234", "−3.5 points", "98.2 %", "< 0.001", "0.94*" as numbers; words as words.
  function key(cell) {
    const text = cell.textContent.trim();
    const number = parseFloat(text.replace(/[\u202f\u00a0]/g, "").replace("\u2212", "-").replace(/^< /, ""));
    if (cell.classList.contains("num")) return Number.isNaN(number) ? null : number - (text.startsWith("<") ? 1e-9 : 0);
    return text.toLowerCase();
  }

  function sortable(table) {
    if (table.tBodies[0].rows.length < 3) return;
    const heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach((head, column) => {
      if (head.classList.contains("no-sort")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const body = table.tBodies[0];
        const rows = Array.from(body.rows, (row) => [key(row.cells[column]), row]);
        rows.sort(([a], [b]) => {
          if (a === null || b === null) return (a === null) - (b === null);
          const order = typeof a === "number" ? a - b : a.localeCompare(b);
          return up ? order : -order;
        });
        body.append(...rows.map(([, row]) => row));
      });
    });
  }

  function filterable(table) {
    const rows = Array.from(table.tBodies[0].rows);
    if (rows.length < 8) return;
    const box = document.createElement("div");
    const label = document.createElement("label");
    const input = document.createElement("input");
    const said = document.createElement("span");
    box.className = "filter";
    input.type = "search";
    label.textContent = "Filter ";
    label.append(input);
    said.className = "aside";
    said.setAttribute("role", "status");
    box.append(label, said);
    table.closest(".scroll").before(box);
    const only = marked(table, box);
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const marks = rows.map((row) => only !== null && row.querySelector("[data-marked]") !== null);
    const update = () => {
      const wanted = input.value.trim().toLowerCase();
      const few = only !== null && only.checked;
      let shown = 0;
      rows.forEach((row, index) => {
        const fits = texts[index].includes(wanted) && (!few || marks[index]);
        row.hidden = !fits;
        shown += fits;
      });
      said.textContent = wanted || few ? shown + " of " + rows.length + " rows" : "";
    };
    input.addEventListener("input", update);
    if (only) only.addEventListener("change", update);
  }

  // A box that leaves only the rows that the page has marked, where it has marked some.
  function marked(table, box) {
    if (!table.dataset.markedName || !table.querySelector("[data-marked]")) return null;
    const label = document.createElement("label");
    const input = document.createElement("input");
    input.type = "checkbox";
    label.className = "only";
    label.append(input, table.dataset.markedName);
    box.lastChild.before(label);
    return input;
  }

  function unfold() {
    let closed = [];
    addEventListener("beforeprint", () => {
      closed = Array.from(document.querySelectorAll("details:not([open])"));
      closed.forEach((node) => { node.open = true; });
    });
    addEventListener("afterprint", () => closed.forEach((node) => { node.open = false; }));
  }

  const named = (axis, own) => ({ ...axis, ...own, title: { ...own.title, font: { size: 13, color: style("muted") } } });

  // One look for all charts, from the page's own colours.
  function layout(extra) {
    const axis = { gridcolor: style("rule"), linecolor: style("muted"), zeroline: false, ticks: "", color: style("muted") };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", colorway: [style("core")],
      font: { family: style("sans"), size: 13, color: style("ink") },
      hoverlabel: { bgcolor: style("ink"), bordercolor: style("ink"), font: { color: style("paper"), family: style("sans") } },
      margin: { l: 58, r: 26, t: 12, b: 52 }, ...extra,
      xaxis: named(axis, extra.xaxis), yaxis: named(axis, extra.yaxis),
    };
  }
  const config = { displaylogo: false, displayModeBar: false, responsive: true };

  function zoo(host, data) {
    const plot = document.createElement("div");
    plot.className = "plot";
    host.append(plot);
    return () => {
      const lines = [0, 0.25, 0.5, 0.75].map((rcs) => ({
        x: [0, 50 * (1 + rcs), 100], y: [0, 50 * (1 - rcs), 100], mode: "lines", hoverinfo: "skip", showlegend: false,
        line: { color: style("muted"), width: 1, dash: rcs ? "dot" : "solid" },
      }));
      const notes = [0, 0.25, 0.5, 0.75].map((rcs) => ({
        x: 50 * (1 + rcs), y: 50 * (1 - rcs), text: "RCS " + rcs, showarrow: false, xanchor: "left", yanchor: "top",
        xshift: 5, font: { size: 11, color: style("muted") },
      }));
      const spot = (name) => name + "<br>core %{x:.2f} %, spurious %{y:.2f} %<extra></extra>";
      const groups = data.groups.map((group) => ({
        x: group.core, y: group.spurious, text: group.names, mode: "markers",
        marker: { symbol: group.symbol, size: 9, color: style(group.tone), opacity: 0.8 }, hovertemplate: spot("%{text}"),
      }));
      const here = {
        x: [data.here.core], y: [data.here.spurious], mode: "markers",
        marker: { size: 17, color: style("spurious"), line: { color: style("surface"), width: 2 } },
        hovertemplate: spot("this model"), cliponaxis: false,
      };
      notes.push({
        x: data.here.core, y: data.here.spurious, text: "<b>this model</b>", showarrow: false, bgcolor: style("paper"), borderpad: 1,
        font: { color: style("spurious"), size: 14 }, xanchor: data.here.core > 20 ? "right" : "left", yanchor: "bottom",
        xshift: data.here.core > 20 ? -10 : 10, yshift: 8,
      });
      Plotly.react(plot, [...lines, ...groups, here], layout({
        annotations: notes, showlegend: false,
        xaxis: { title: { text: "Core accuracy, % (background noised)" }, range: [-1, 101] },
        yaxis: { title: { text: "Spurious accuracy, % (object noised)" }, range: [-1, 101] },
      }), config);
    };
  }

  const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];

  function patches(host, data) {
    const label = document.createElement("label");
    const select = document.createElement("select");
    const plot = document.createElement("div");
    label.textContent = "Look at one sweep, cell by cell: ";
    data.sweeps.forEach((sweep, index) => {
      const option = document.createElement("option");
      option.value = index;
      option.textContent = sweep.source + " with cells of " + sweep.target;
      select.append(option);
    });
    plot.className = "plot map";
    label.append(select);
    host.append(label, plot);
    const draw = () => {
      const sweep = data.sweeps[select.value];
      const lost = sweep.certainty.map((row) => row.map((value) => (value === null ? null : sweep.unperturbed - value)));
      const text = sweep.certainty.map((row, r) => row.map((value, c) => "cell " + (r * sweep.columns + c + 1) + ", row " + (r + 1) + ", column " + (c + 1) + "<br>certainty " + (value === null ? "unknown" : value.toFixed(3))));
      const names = (count) => Array.from({ length: count }, (_, index) => index + 1);
      Plotly.react(plot, [{
        type: "heatmap", x: names(sweep.columns), y: names(lost.length), z: lost, text, zmin: 0, zmax: data.top, xgap: 2, ygap: 2,
        colorscale: CIVIDIS.map((colour, index) => [index / (CIVIDIS.length - 1), colour]),
        colorbar: { title: { text: "certainty lost", side: "right", font: { size: 13 } }, thickness: 12, outlinewidth: 0 },
        hovertemplate: "%{text}<br>lost %{z:.3f}<extra></extra>",
      }], layout({
        margin: { l: 44, r: 8, t: 8, b: 40 },
        xaxis: { title: { text: "Column" }, showgrid: false, dtick: 1, constrain: "domain" },
        yaxis: { title: { text: "Row" }, showgrid: false, dtick: 1, autorange: "reversed", scaleanchor: "x", constrain: "domain" },
      }), config);
    };
    select.addEventListener("change", draw);
    return draw;
  }

  function restyle() { drawn.forEach((draw) => draw()); }

  // plotly takes a second to start: it stands in the page as text, and runs when the first chart comes near.
  function library() {
    if (typeof Plotly !== "undefined") return;
    const script = document.createElement("script");
    script.textContent = byId("plotly").textContent;
    document.head.append(script);
  }

  function charts() {
    const data = read("spuraudit-charts");
    if (!data || !byId("plotly")) return;
    const makers = { zoo, patches };
    const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
      if (!entry.isIntersecting) return;
      library();
      const box = entry.target;
      const host = box.querySelector(".live");
      seen.unobserve(box);
      host.hidden = false;
      box.classList.add("is-live");
      const draw = makers[box.dataset.live](host, data[box.dataset.live]);
      drawn.push(draw);
      draw();
    }), { rootMargin: "300px" });
    document.querySelectorAll("[data-live]").forEach((box) => { if (data[box.dataset.live]) seen.observe(box); });
  }

  theme();
  save();
  document.querySelectorAll("table[data-sortable]").forEach(sortable);
  document.querySelectorAll("table[data-filter]").forEach(filterable);
  unfold();
  charts();
})();
