// The workspace's panel in JupyterLab and Notebook 7.
//
// This is the file that a bundler would make, written by hand: JupyterLab asks a "container" for its plugins
// and hands it the modules that it shares. With so little code that saves a build with hundreds of packages.
(() => {
  "use strict";
  const POLL_MILLISECONDS = 5000;
  let shared = null; // the modules JupyterLab shares, by name and version

  /** The module that the application itself runs with, or null where it has none of that name. */
  async function use(name) {
    const versions = Object.values(shared[name] ?? {});
    const version = versions.find((each) => each.loaded) ?? versions[0];
    return version ? (await version.get())() : null;
  }

  function clock(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    const [d, h, m, s] = [whole / 86400, (whole / 3600) % 24, (whole / 60) % 60, whole % 60].map(Math.floor);
    const two = (n) => String(n).padStart(2, "0");
    if (d > 1) return `${d} d ${h} h`;
    return d || h ? `${d * 24 + h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
  }

  function money(dollars) {
    return dollars > 0 && dollars < 0.005 ? "under $0.01" : `$${dollars.toFixed(2)}`;
  }

  /** Asks the server how the workspace does, and tells who listens; once a second the time left changes. */
  class Watch {
    constructor(services, urls) {
      this.services = services;
      this.settings = services.makeSettings();
      this.url = (...parts) => urls.join(this.settings.baseUrl, "lofty", ...parts);
      this.listeners = new Set();
      this.facts = null;
      this.heard = 0; // by this browser's clock: the server's may differ
      this.silent = 0; // questions in a row without an answer
      document.addEventListener("visibilitychange", () => this.look());
      setInterval(() => this.look(), POLL_MILLISECONDS);
      setInterval(() => document.hidden || this.tell(), 1000);
      this.look();
    }

    call(what, method = "GET") {
      return this.services.makeRequest(this.url("api", what), { method }, this.settings);
    }

    async look() {
      if (document.hidden) return;
      try {
        const answer = await this.call("status");
        if (!answer.ok) throw new Error(answer.statusText);
        this.facts = await answer.json();
        this.heard = performance.now();
        this.silent = 0;
      } catch {
        this.silent += 1; // one may be a hiccup of the network
      }
      this.tell();
    }

    tell() {
      for (const listener of this.listeners) listener();
    }

    get state() {
      if (this.silent > 1) return "stopped";
      if (!this.facts) return "…";
      return this.facts.stopping ? "stopping" : this.facts.state;
    }

    get timeLeft() {
      if (this.silent > 1 || typeof this.facts?.time_left !== "number") return null;
      return this.facts.time_left - (performance.now() - this.heard) / 1000;
    }

    /** One line: what the status bar shows. */
    get line() {
      const parts = [`● ${this.state}`];
      if (this.timeLeft !== null) parts.push(`${clock(this.timeLeft)} left`);
      if (typeof this.facts?.cost === "number") parts.push(money(this.facts.cost));
      return parts.join(" · ");
    }

    /** Everything, as pairs: what the dialog shows. */
    get details() {
      const facts = this.facts ?? {};
      const pairs = [["State", this.state]];
      if (this.timeLeft !== null) {
        const until = facts.time_left_reason === "idle" ? "then it stops, if nothing runs" : "until its time limit";
        pairs.push(["Time left", `${clock(this.timeLeft)}, ${until}`]);
      }
      if (typeof facts.cost === "number") pairs.push(["Cost so far", money(facts.cost)]);
      if (facts.price_per_hour) pairs.push(["Price", `$${facts.price_per_hour.toFixed(3)} an hour`]);
      if (facts.message) pairs.push(["Note", facts.message]);
      if (facts.stale) pairs.push(["Note", "the machine's last report is old or missing: the figures may be too"]);
      return pairs;
    }
  }

  /** A line that follows the watch, as `tag`; in the bar's own type, colour and focus ring. */
  function makeItem(widgets, watch, tag) {
    const node = document.createElement(tag);
    const item = new widgets.Widget({ node });
    item.id = "lofty-panel";
    Object.assign(node.style, {
      alignItems: "center", background: "none", border: "0", color: "inherit", cursor: "pointer", display: "flex",
      font: "inherit", fontVariantNumeric: "tabular-nums", padding: "0 8px", textDecoration: "none",
      whiteSpace: "nowrap",
    });
    const draw = () => {
      if (node.textContent !== watch.line) node.textContent = watch.line;
    };
    watch.listeners.add(draw);
    draw();
    return item;
  }

  function makeDetails(widgets, watch) {
    const body = new widgets.Widget();
    const draw = () => {
      const table = document.createElement("table");
      table.style.borderSpacing = "0 4px";
      for (const [name, value] of watch.details) {
        const row = table.insertRow();
        const head = document.createElement("th");
        head.scope = "row";
        head.textContent = name;
        Object.assign(head.style, { fontWeight: "normal", opacity: "0.7", paddingRight: "24px", textAlign: "left" });
        row.append(head);
        row.insertCell().textContent = value;
      }
      body.node.replaceChildren(table);
    };
    watch.listeners.add(draw);
    body.disposed.connect(() => watch.listeners.delete(draw));
    draw();
    return body;
  }

  async function showStatus(app, modules, watch) {
    const { Dialog } = modules.apputils;
    const buttons = [Dialog.cancelButton({ label: "Close" })];
    if (watch.facts && watch.facts.idle_at !== null) {
      buttons.push(Dialog.okButton({ label: "Keep awake", actions: ["keep"] }));
    }
    buttons.push(Dialog.warnButton({ label: "Stop…", actions: ["stop"] }));
    const title = `Workspace ${watch.facts?.name ?? ""}`.trim();
    const body = makeDetails(modules.widgets, watch);
    const { button } = await new Dialog({ title, body, buttons, defaultButton: 0 }).launch();
    if (button.actions.includes("keep")) {
      await watch.call("keep", "POST");
      setTimeout(() => watch.look(), 1000); // by then the agent has seen it
    } else if (button.actions.includes("stop")) {
      await confirmStop(app, modules, watch);
    }
  }

  async function confirmStop(app, modules, watch) {
    const { Dialog, showDialog } = modules.apputils;
    const { button } = await showDialog({
      title: "Stop this workspace?",
      body: "Open documents are saved. Then kernels and terminals end, and what is only in their memory is lost. "
        + "Files stay.",
      buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: "Stop workspace" })],
      defaultButton: 0,
    });
    if (!button.accept) return;
    if (app.commands.hasCommand("docmanager:save-all")) {
      await app.commands.execute("docmanager:save-all").catch(() => {});
    }
    // The panel's page stops the workspace once it is loaded: it can then say how to start again, where this
    // one would complain for ever that the server does not answer.
    sessionStorage.setItem("lofty:stop", "yes");
    location.assign(watch.url("/"));
  }

  function addCommands(app, modules, watch, palette) {
    const commands = {
      "lofty:status": ["Workspace: Time Left and Cost", () => showStatus(app, modules, watch)],
      "lofty:stop": ["Workspace: Stop This Workspace", () => confirmStop(app, modules, watch)],
    };
    for (const [command, [label, execute]] of Object.entries(commands)) {
      app.commands.addCommand(command, { label, execute });
      palette?.addItem({ command, category: "Workspace" });
    }
  }

  function addItem(app, modules, watch, statusBar) {
    if (statusBar) {
      const item = makeItem(modules.widgets, watch, "button");
      item.node.type = "button";
      item.node.title = "Time left and cost of this workspace; click for more, and to stop it";
      item.node.addEventListener("click", () => app.commands.execute("lofty:status"));
      statusBar.registerStatusItem("lofty-panel:item", { item, align: "right", rank: 1 });
      return;
    }
    const item = makeItem(modules.widgets, watch, "a"); // Notebook 7 has no status bar
    item.node.href = watch.url("/");
    item.node.target = "_blank";
    item.node.title = "Time left and cost of this workspace; opens a page with more, and to stop it";
    app.shell.add(item, "top", { rank: 900 });
  }

  async function makePlugin() {
    const [statusbar, apputils, widgets, services, coreutils] = await Promise.all(
      ["@jupyterlab/statusbar", "@jupyterlab/apputils", "@lumino/widgets", "@jupyterlab/services",
        "@jupyterlab/coreutils"].map(use),
    );
    const tokens = [apputils.ICommandPalette, statusbar?.IStatusBar].filter(Boolean);
    return {
      id: "lofty-panel:plugin",
      description: "Shows the workspace's time left and cost, keeps it awake, stops it.",
      autoStart: true,
      optional: tokens,
      activate: (app, palette, statusBar) => {
        const watch = new Watch(services.ServerConnection, coreutils.URLExt);
        const modules = { apputils, widgets };
        addCommands(app, modules, watch, palette);
        addItem(app, modules, watch, statusBar);
      },
    };
  }

  window._JUPYTERLAB = window._JUPYTERLAB ?? {};
  window._JUPYTERLAB["lofty-panel"] = {
    init: (scope) => {
      shared = scope;
    },
    get: async () => {
      const plugin = await makePlugin();
      return () => ({ __esModule: true, default: plugin });
    },
  };
})();
