// The live page: a state a second by server-sent events, two buttons that ask twice, and at the end
// the report in its place. What the server says only ever becomes text.
(() => {
  "use strict";
  const root = document.getElementById("live"), SVG = "http://www.w3.org/2000/svg";
  const query = location.search;
  const make = (name, words, attributes, ...inside) => {
    const one = document.createElement(name);
    if (words !== undefined && words !== null) one.textContent = words;
    for (const [key, value] of Object.entries(attributes || {})) one.setAttribute(key, value);
    one.append(...inside);
    return one;
  };
  const draw = (name, attributes) => {
    const one = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    return one;
  };
  const table = (head, rows, none) => {
    if (!rows.length) return make("p", none, {class: "soft"});
    const body = make("tbody"), top = make("tr");
    head.forEach((word) => top.append(make("th", word, {scope: "col"})));
    rows.forEach((row) => {
      const line = make("tr");
      row.forEach((word, n) => line.append(make("td", word, {"data-label": head[n]})));
      body.append(line);
    });
    return make("table", null, {class: "cards"}, make("thead", null, {}, top), body);
  };
  const percent = (value) => value === 1 ? "100 %" : `${Math.min(99.99, value * 100).toFixed(2)} %`;
  const ms = (value) => value === null ? "failed" : `${value} ms`;
  const seconds = (value) => value < 100 ? `${Math.round(value)} s` : `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;

  // What stays for the whole run, so that a button is never redrawn under a hand.
  const lost = make("p", "The connection to the run is gone: it ended or was killed. This is the last it said.", {class: "lost", role: "alert", hidden: ""});
  const head = make("header", null, {class: "banner"}), told = make("p", "", {role: "status", class: "soft"});
  const acts = make("div", null, {class: "acts"}), parts = make("div");
  const day = make("section", null, {class: "day", hidden: "", "aria-label": "The game day's step"}), step = make("div");
  const button = (name, words, sure) => {
    const one = make("button", words, {type: "button", id: name});
    let asked = null;
    const calm = () => { clearTimeout(asked); asked = null; one.textContent = words; one.classList.remove("sure"); };
    one.addEventListener("click", async () => {
      if (sure && asked === null) {
        one.textContent = sure;
        one.classList.add("sure");
        asked = setTimeout(calm, 6000);
        return;
      }
      calm();
      try {
        const answer = await fetch(`/${name}${query}`, {method: "POST", headers: {"X-Stormgate": "live"}});
        told.textContent = answer.ok ? (await answer.json()).told : await answer.text();
      } catch { told.textContent = "The run did not answer."; }
    });
    return one;
  };
  acts.append(button("withdraw", "Withdraw faults", "Withdraw every fault now? Click again"),
    button("stop", "Stop the run", "Stop the run, faults first? Click again"), told);
  // What people say on a game day: an answer breaks something and is asked twice, a note is not.
  const answers = make("div", null, {class: "acts"}, button("go", "Go", "Break it now? Click again"), button("skip", "Skip this step", "Skip it? Click again"));
  const notes = make("div", null, {class: "acts"}, button("detected", "Detected", null), button("mitigated", "Mitigated", null));
  day.append(step, answers, notes);
  const start = () => {
    if (root.contains(acts)) return;
    root.replaceChildren(lost, head, acts, day, parts);
  };
  const walk = (now) => {
    day.hidden = !now;
    if (!now) return;
    step.replaceChildren(make("h2", `Step ${now.number} of ${now.of}: ${now.step}`), make("p", now.does),
      make("p", null, {}, make("b", "Believed: "), now.says), make("p", now.asks || "", {class: "asks"}));
    answers.hidden = !now.asks || !now.people;
    notes.hidden = !now.people;
  };

  const series = {run: null, total: [], good: []};
  const strip = (state) => {
    const chart = draw("svg", {class: "strip", viewBox: "0 0 600 120", preserveAspectRatio: "none", role: "img"});
    const n = Math.min(600, series.total.length), from = series.total.length - n;
    const high = Math.max(state.planned_per_s * 1.2, ...series.total.slice(from), 1), step = 600 / Math.max(60, n);
    for (let i = 0; i < n; i += 1) {
      const all = series.total[from + i], good = series.good[from + i], x = (i * step).toFixed(1), w = step.toFixed(2);
      const y = 120 * (1 - all / high), bad = 120 * (all - good) / high;
      if (all > good) chart.append(draw("rect", {class: "bad", x, width: w, y, height: Math.max(2, bad)}));
      if (good) chart.append(draw("rect", {class: "ok", x, width: w, y: y + bad, height: Math.max(0, 120 - y - bad)}));
    }
    const sum = (list) => list.slice(from).reduce((a, b) => a + b, 0);
    const words = `Answers per second over the last ${n} s: ${sum(series.total)}, of them ${sum(series.total) - sum(series.good)} not good (red, on top)`;
    chart.setAttribute("aria-label", words);
    return [chart, make("p", words, {class: "soft"})];
  };
  const groups = (list) => list.map((one) => [one.name, `${one.rate_per_s}`, percent(one.good), ms(one.p95_ms)]);
  const show = (state) => {
    if (!state.phase) return; // the run had not begun
    start();
    if (state.run !== series.run) Object.assign(series, {run: state.run, total: [], good: []});
    for (const key of ["total", "good"]) series[key] = series[key].slice(0, state.since_s).concat(state[key]);
    const left = state.phase.left_s === null ? `for ${seconds(state.phase.lasted_s)}` : `${seconds(state.phase.left_s)} left`;
    head.replaceChildren(make("h1", state.gate), make("p", null, {class: "now"},
      make("b", state.phase.name), make("span", left), make("span", `${seconds(state.elapsed_s)} since it began`)),
      make("p", `${state.target} · ${state.folder}${state.verdict ? ` · ${state.verdict}` : ""}`, {class: "soft"}));
    walk(state.day);
    const lag = state.generator.send_lag_p99_ms, cpu = state.generator.cpu;
    const figures = ["Answers/s", "Good", "p95"];
    parts.replaceChildren(
      make("h2", "Faults that stand"),
      table(["Fault", "Component", "Mode", "Since", "Proof"], state.faults.map((one) => [one.fault, one.component, one.mode,
        seconds(one.age_s), one.seen_s === null ? "not seen yet" : one.proof]), "Nothing is broken by us."),
      make("h2", "Users"), ...strip(state),
      table(["Population", ...figures], groups(state.populations), "No answer yet."),
      make("h2", "Regions that answered"), table(["Region", ...figures], groups(state.regions), "No answer yet."),
      make("h2", "Objectives so far"),
      table(["Objective", "Leans to", "Value", "Bound", "Limit", "Why"], state.objectives.map((one) => [one.name, one.verdict, one.value,
        one.bound, one.limit, one.why]), "Judged after each phase; none is over yet."),
      make("h2", "Load generator"),
      make("p", lag === null ? "No account yet." : `Send lag p99 ${lag} ms, CPU ${Math.round((cpu || 0) * 100)} % of a core (its worst worker).`),
      make("h2", "What happened"),
      table(["At", "What"], state.events.slice().reverse().map(([at, words]) => [`${at} s`, words]), "Nothing yet."),
      ...(state.problem ? [make("p", state.problem, {class: "lost"})] : []));
    document.title = `${state.phase.name} · ${state.gate}`;
  };

  const stream = new EventSource(`/events${query}`);
  stream.addEventListener("state", (event) => { lost.hidden = true; show(JSON.parse(event.data)); });
  stream.addEventListener("done", async (event) => {
    stream.close();
    show(JSON.parse(event.data));
    acts.hidden = day.hidden = true;
    try {
      const answer = await fetch(`/report${query}`);
      if (!answer.ok) return;
      const report = await answer.text();
      document.open();
      document.write(report);
      document.close();
    } catch { lost.hidden = false; }
  });
  stream.addEventListener("error", () => { start(); lost.hidden = false; });
})();
