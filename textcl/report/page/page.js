"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const reduced = matchMedia("(prefers-reduced-motion: reduce)");
  const button = document.getElementById("theme");
  let chosen = null; // "light" or "dark" by the reader; null follows the system

  const theme = () => chosen ?? (dark.matches ? "dark" : "light");
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  // "$0" is a series' colour and "$ink" a colour by name; everything else stays.
  const paint = (value) => {
    if (Array.isArray(value)) return value.map(paint);
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, paint(one)]));
    }
    const found = typeof value === "string" && /^\$(\d|ink|muted|grid|paper)$/.exec(value);
    if (!found) return value;
    return colour(/\d/.test(found[1]) ? `--series-${found[1]}` : `--${found[1]}`);
  };

  const axis = (given) => ({
    gridcolor: colour("--grid"), zeroline: false, zerolinecolor: colour("--muted"), linecolor: colour("--line"), automargin: true, exponentformat: "power",
    ...given, title: { ...given?.title, font: { size: 12 }, standoff: 8 },
  });

  const layout = (given, tools) => ({
    margin: { l: 8, r: 12, t: tools ? 36 : 10, b: 8 }, dragmode: false,
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--muted"), activecolor: colour("--ink") }, hoverlabel: { align: "left", namelength: 24 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif", size: 12, color: colour("--ink") },
    ...given,
    legend: tools
      ? { orientation: "h", y: -0.1, yanchor: "top", x: 0, ...given.legend }
      : { orientation: "h", yref: "container", y: 1, yanchor: "top", xref: "container", x: 0, ...given.legend },
    xaxis: axis(given.xaxis), yaxis: axis(given.yaxis),
  });

  const draw = (key) => {
    const { data, layout: given, tools } = figures[key];
    return Plotly.react(document.getElementById(key), paint(data), layout(paint(given), tools), {
      responsive: true, displaylogo: false, displayModeBar: tools,
      modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
    });
  };

  const show = () => {
    root.dataset.theme = theme();
    button.textContent = theme() === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", theme() === "dark" ? "Use light colours" : "Use dark colours");
    return Promise.all(Object.keys(figures).map(draw));
  };

  button.hidden = false;
  button.addEventListener("click", () => { chosen = theme() === "dark" ? "light" : "dark"; show(); });
  dark.addEventListener("change", show);

  // Arrow keys go through the points of a chart: left and right along a line, up and down between lines.
  const walk = (key) => {
    const element = document.getElementById(key);
    let at = { curve: 0, point: -1 };
    element.addEventListener("keydown", (event) => {
      const { data } = figures[key];
      const size = (one) => data[one].x.length;
      if (event.key === "ArrowRight") at.point = (at.point + 1) % size(at.curve);
      else if (event.key === "ArrowLeft") at.point = (Math.max(at.point, 0) + size(at.curve) - 1) % size(at.curve);
      else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        at.curve = (at.curve + (event.key === "ArrowDown" ? 1 : data.length - 1)) % data.length;
        at.point = Math.min(Math.max(at.point, 0), size(at.curve) - 1);
      } else return;
      event.preventDefault();
      Plotly.Fx.hover(element, [{ curveNumber: at.curve, pointNumber: at.point }]);
      const trace = data[at.curve];
      const words = [trace.name, trace.text?.[at.point]?.replace(/<[^>]*>/g, " ") ?? "", trace.x[at.point], trace.y[at.point]];
      document.getElementById("spoken").textContent = words.filter((one) => one !== undefined && one !== "").join(", ");
    });
    element.addEventListener("blur", () => Plotly.Fx.unhover(element));
  };

  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const value = (row, place) => {
      const cell = row.cells[place];
      return cell.dataset.order === undefined ? cell.textContent.trim() : Number(cell.dataset.order.replace("inf", "Infinity"));
    };
    const compare = (one, other) =>
      typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other));
    heads.forEach((head, place) => head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((one) => one.setAttribute("aria-sort", one === head ? (up ? "ascending" : "descending") : "none"));
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((one, other) => compare(value(one, place), value(other, place)) * (up ? 1 : -1));
      body.append(...rows);
    }));
  };

  if (reduced.matches) root.style.scrollBehavior = "auto";
  document.querySelectorAll("table").forEach(sortable);
  Object.keys(figures).forEach(walk);
  show().then(() => { root.dataset.ready = "true"; });
})();
