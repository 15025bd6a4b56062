"use strict";
// The page is a client of the HTTP API and nothing more: what it shows comes from the node
// that served it, and what it may do is what that node allows.
const $ = (id) => document.getElementById(id);
const text = (element, value) => { if (element.textContent !== value) { element.textContent = value; } };
const state = (element, value) => { if (element.dataset.state !== value) { element.dataset.state = value; } };
// An element with properties, children and texts; properties with a dash are attributes.
const make = (tag, properties, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
        if (name.includes("-") || name === "role" || name === "scope") { element.setAttribute(name, value); } else { element[name] = value; }
    }
    element.append(...children);
    return element;
};
const button = (label, run, kind) => make("button", { type: "button", className: kind || "", onclick: run }, label);
const number = (value) => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
const bytes = (value) => {
    let unit = 0;
    while (value >= 1000 && unit < 4) { value /= 1024; unit++; }
    return (unit && value < 99.95 ? value.toFixed(1) : Math.round(value)) + ["\u00a0B", "\u00a0KiB", "\u00a0MiB", "\u00a0GiB", "\u00a0TiB"][unit];
};
const ms = (value) => (value < 1 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : Math.round(value)) + "\u00a0ms";
const seconds = (s) => s < 120 ? Math.round(s) + " s" : s < 7200 ? Math.round(s / 60) + " min" : s < 172800 ? Math.round(s / 3600) + " h" : Math.round(s / 86400) + " days";
const clock = () => new Date().toTimeString().slice(0, 8);
const list = (words) => words.length < 2 ? words.join("") : words.slice(0, -1).join(", ") + " and " + words[words.length - 1];

// ---- requests ----

// Credentials live in this variable alone. The browser sends none by itself, so that no
// other page can use them.
let credentials = null;
let me = { auth: false, perms: [] };

class Problem extends Error {
    constructor(status, body) {
        super(body.message || "the node answered " + status);
        Object.assign(this, { status, body, code: body.code });
    }
}
const headersWith = (more) => ({ Accept: "application/json", ...(credentials ? { Authorization: credentials } : {}), ...more });
const ask = async (method, path, options) => {
    const { headers, body, wait = 15000, signal } = options || {};
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), wait);
    if (signal) { signal.addEventListener("abort", () => stop.abort()); }
    try {
        const answer = await fetch(path, { method, body, headers: headersWith(headers), credentials: "omit", cache: "no-store", signal: stop.signal });
        if (!answer.ok) {
            throw new Problem(answer.status, await answer.json().catch(() => ({})));
        }
        const kind = answer.headers.get("Content-Type") || "";
        const result = kind.startsWith("application/json") ? await answer.json() : kind.startsWith("text/") ? await answer.text() : null;
        return { result, headers: answer.headers, status: answer.status };
    } finally {
        clearTimeout(timer);
    }
};
const get = async (path, options) => (await ask("GET", path, options)).result;
const why = (error) => error instanceof Problem
    ? error.message + (error.body.outcome === "unknown" ? " (it may have happened, or not)" : "")
    : error.name === "AbortError" ? "the node did not answer in time" : "the node cannot be reached";

const complain = (words) => { text($("message"), words); $("message").hidden = !words; };
const report = (words) => { complain(""); text($("done"), words ? clock() + "  " + words : ""); };

// ---- who may do what ----

const may = (perm, key) => me.perms.some((one) => one === perm ||
    (key !== undefined && one.startsWith(perm + ":") && key.startsWith(one.slice(perm.length + 1))));
const mayBelow = (perm, prefix) => may(perm, prefix) || me.perms.some((one) =>
    one.startsWith(perm + ":") && one.slice(perm.length + 1).startsWith(prefix));

const identify = async () => {
    me = await get("/whoami");
    $("account").hidden = !me.auth;
    text($("user"), credentials ? me.user || "a token" : "not signed in");
    text($("sign"), credentials ? "Sign out" : "Sign in");
};
const login = (reason) => {
    text($("login-why"), reason || "");
    $("login").hidden = false;
    $("login-cancel").hidden = !me.perms.length;
    $("name").focus();
};
const base64 = (words) => btoa(String.fromCharCode(...new TextEncoder().encode(words)));
const signIn = async (event) => {
    event.preventDefault();
    const user = $("name").value, password = $("password").value;
    credentials = user ? "Basic " + base64(user + ":" + password) : "Bearer " + password;
    try {
        await identify();
        $("password").value = "";
        $("login").hidden = true;
        report("Signed in as " + (me.user || "the owner of a token") + ".");
        show();
    } catch (error) {
        credentials = null;
        text($("login-why"), error.status === 401 ? "User, password or token is wrong." : why(error));
        $("password").focus();
    }
};
const signOut = async () => {
    if (!credentials) { login(); return; }
    credentials = null;
    await identify().catch(() => {});
    report("Signed out.");
    show();
};

// ---- questions ----

// Resolves to whether the user agrees; with `word` it has to be typed.
const confirm = ({ title, words, yes, word, danger }) => new Promise((resolve) => {
    const dialog = $("ask");
    text($("ask-title"), title);
    text($("ask-text"), words);
    text($("ask-yes"), yes);
    text($("ask-what"), "Type " + word + " to confirm");
    $("ask-yes").className = danger ? "main danger" : "main";
    $("ask-label").hidden = !word;
    $("ask-word").value = "";
    const check = () => { $("ask-yes").disabled = Boolean(word) && $("ask-word").value !== word; };
    $("ask-word").oninput = check;
    check();
    let agreed = false;
    $("ask-form").onsubmit = () => { agreed = true; };
    $("ask-no").onclick = () => dialog.close();
    dialog.onclose = () => resolve(agreed);
    dialog.showModal();
    (word ? $("ask-word") : $("ask-no")).focus();
});

// ---- what the node says of itself ----

let status = null, nodes = [], metrics = {}, failing = 0, timer = 0, polling = false, leaderSeen;
const SAMPLES = 120, EVERY = 1000;
const plots = { writes: [], commit: [] };

const parse = (words) => {
    const found = {};
    for (const line of words.split("\n")) {
        const at = line.lastIndexOf(" ");
        if (at > 0 && line[0] !== "#") { found[line.slice(0, at)] = Number(line.slice(at + 1)); }
    }
    return found;
};
// The 99th percentile of the commits since the poll before, in ms, from the buckets of
// the histogram; null when there were none.
const percentile = (before, now) => {
    const name = "craftd_raft_commit_duration_seconds";
    const total = now[name + "_count"] - before[name + "_count"];
    if (!(total > 0)) { return null; }
    let low = 0, below = 0;
    for (const key of Object.keys(now)) {
        const bound = key.startsWith(name + "_bucket") && key.match(/le="([^"]+)"/)[1];
        if (!bound) { continue; }
        const count = now[key] - before[key];
        if (count >= total * 0.99) {
            if (bound === "+Inf") { return low * 1000; }
            return 1000 * (low + (bound - low) * (total * 0.99 - below) / Math.max(1, count - below));
        }
        if (bound !== "+Inf") { low = Number(bound); below = count; }
    }
    return null;
};
const sample = (before, metricsBefore, elapsed) => {
    const leads = status.role === "leader";
    const leader = nodes.find((node) => node.leader);
    const writes = before && elapsed > 0 ? Math.max(0, status.storage.writes - before.storage.writes) / elapsed : null;
    const commit = leads ? percentile(metricsBefore, metrics) : leader && leader.commit_p99_ms !== undefined ? leader.commit_p99_ms : null;
    for (const [name, value] of [["writes", writes], ["commit", commit]]) {
        plots[name].push(value);
        if (plots[name].length > SAMPLES) { plots[name].shift(); }
    }
};

let polledAt = 0;
const poll = async () => {
    clearTimeout(timer);
    if (polling || !$("login").hidden && !me.perms.length) { timer = setTimeout(poll, EVERY); return; }
    polling = true;
    const before = status, metricsBefore = metrics, at = performance.now();
    try {
        if (may("status")) {
            const answers = await Promise.all([get("/status", { wait: 4000 }), get("/nodes", { wait: 4000 }), get("/metrics", { wait: 4000 })]);
            status = answers[0];
            nodes = answers[1];
            metrics = parse(answers[2]);
            sample(before, metricsBefore, (at - polledAt) / 1000);
            polledAt = at;
        } else {
            await get("/livez", { wait: 4000 });
        }
        failing = 0;
    } catch (error) {
        if (error.status === 401 && me.auth) {
            credentials = null;
            await identify().catch(() => {});
            login("The credentials are not valid any more.");
        } else {
            failing = failing || Date.now();
            for (const name of ["writes", "commit"]) { plots[name].push(null); }
        }
    }
    polling = false;
    draw();
    timer = setTimeout(poll, document.hidden ? 10 * EVERY : EVERY);
};

const live = () => {
    const stale = failing && Date.now() - failing > 1500;
    const waiting = stale || view === "keys" && stream.state === "wait";
    text($("live"), waiting ? "reconnecting" : "live");
    state($("live"), waiting ? "bad" : "good");
};

// ---- the view of the cluster ----

const plot = (name, format) => {
    const values = plots[name], known = values.filter((value) => value !== null);
    const top = Math.max(...known, 0) || 1, last = values[values.length - 1];
    const now = last === null || last === undefined ? "none" : format(last);
    let path = "", pen = "M";
    values.forEach((value, i) => {
        if (value === null) { pen = "M"; return; }
        path += pen + (240 - (values.length - 1 - i) * 240 / (SAMPLES - 1)).toFixed(1) + " " + (42 - value / top * 40).toFixed(1);
        pen = "L";
    });
    const svg = $(name);
    if (!svg.firstChild) { svg.append(document.createElementNS("http://www.w3.org/2000/svg", "path")); }
    svg.firstChild.setAttribute("d", path);
    svg.setAttribute("aria-label", (name === "writes" ? "Writes per second: now " : "99th percentile of commits: now ") + now + ", highest in two minutes " + (known.length ? format(top) : "none"));
    text($(name + "-now"), now);
    text($(name + "-max"), known.length ? "highest " + format(Math.max(...known)) : "");
};

const verdict = () => {
    const voters = nodes.filter((node) => node.voter), up = voters.filter((node) => node.reachable);
    const down = nodes.filter((node) => !node.reachable).map((node) => node.id);
    const majority = Math.floor(voters.length / 2) + 1;
    if (failing) { return ["bad", "No answer", "since " + seconds((Date.now() - failing) / 1000) + ". What is shown is older."]; }
    if (!voters.length) { return ["warn", "Waiting", "This node is not a member of a cluster yet."]; }
    if (!status.leader.id) {
        return up.length < majority
            ? ["bad", "No quorum", up.length + " of " + voters.length + " voters can be reached from here, " + majority + " are needed. Writes are refused; this node still shows what it has. Start " + list(down) + "."]
            : ["bad", "No leader", "An election should end this within seconds."];
    }
    const leads = status.leader.id + " leads in term " + status.term + ".";
    if (down.length) {
        const spare = up.length - majority;
        return ["warn", "Degraded", leads + " " + list(down) + " cannot be reached. " + (spare > 0 ? "Writes go on; " + spare + " more may fail." : spare === 0 ? "Writes go on; none more may fail." : "")];
    }
    const spare = voters.length - majority;
    return status.hints.length
        ? ["warn", "Working", leads + " See below what needs attention."]
        : ["good", "Healthy", leads + (voters.length === 1 ? " One voter: no failure is tolerated." : " All " + nodes.length + " members can be reached; " + (spare === 1 ? "one voter" : spare + " voters") + " may fail.")];
};

const COLUMNS = ["Name", "Role", "State", "Address", "Version", "Lag", "Round trip", "Disk", "Memory", "Actions"];
const rows = new Map();
const rowOf = (id) => {
    let row = rows.get(id);
    if (!row) {
        row = make("tr", { role: "row" }, ...COLUMNS.map((label, i) => make("td", { role: "cell", "data-label": label, className: i === 0 ? "name" : i === 9 ? "actions" : i > 4 ? "n" : "" })));
        row.children[0].setAttribute("role", "rowheader");
        row.children[2].append(make("span", { className: "state" }), make("span", { className: "why" }));
        rows.set(id, row);
    }
    return row;
};
const roleOf = (node) => node.leader ? "leader" : node.voter ? "follower" : node.role;
const drawMember = (node) => {
    const mine = node.id === status.me.id, cells = rowOf(node.id).children;
    const disk = mine ? status.storage.db_bytes + status.storage.log_bytes : node.disk_bytes;
    const memory = mine ? metrics.process_resident_memory_bytes : node.memory_bytes;
    const known = (value, format) => value === undefined ? "\u2013" : format(value);
    text(cells[0], node.id);
    text(cells[1], roleOf(node));
    text(cells[2].firstChild, node.reachable ? mine ? "this node" : "connected" : "unreachable");
    state(cells[2].firstChild, node.reachable ? "good" : "bad");
    text(cells[2].lastChild, node.last_error || "");
    text(cells[3], node.address);
    text(cells[4], mine ? status.version : node.version || "\u2013");
    text(cells[5], mine && node.leader ? "0" : known(node.lag, number));
    text(cells[6], mine ? "\u2013" : known(node.rtt_ms, (value) => value < 1 ? "<\u20091\u00a0ms" : value + "\u00a0ms"));
    text(cells[7], known(disk, bytes));
    text(cells[8], known(memory, bytes));
};
const drawMembers = () => {
    const body = $("members");
    for (const id of rows.keys()) {
        if (!nodes.some((node) => node.id === id)) { rows.get(id).remove(); rows.delete(id); }
    }
    nodes.forEach((node, i) => {
        const row = rowOf(node.id);
        drawMember(node);
        if (body.children[i] !== row) { body.insertBefore(row, body.children[i] || null); }
    });
};

const drawFacts = () => {
    const quota = status.storage.quota_bytes;
    const facts = {
        "Term": number(status.term),
        "Leader changes seen": number(metrics.craftd_raft_leader_changes_total || 0),
        "Committed": number(status.commit),
        "Applied": number(status.applied),
        "Last in the log": number(status.last_log),
        "Keys": number(status.keys),
        "Database": bytes(status.storage.db_bytes) + (quota ? " of " + bytes(quota) : ""),
        "Log": bytes(status.storage.log_bytes),
        "fdatasync, p99": status.storage.fsync_p99_ms + "\u00a0ms",
        "Connections": number(metrics.craftd_http_connections || 0) + " of " + number(status.limits.connections),
        "Watches": number(metrics.craftd_watchers || 0),
        "Version": status.version,
    };
    const box = $("facts");
    Object.entries(facts).forEach(([name, value], i) => {
        if (!box.children[i]) { box.append(make("div", null, make("dt", null, name), make("dd"))); }
        text(box.children[i].lastChild, value);
    });
};

const drawLeaders = () => {
    const now = status.leader.id + "/" + status.term;
    if (now === leaderSeen) { return; }
    const words = status.leader.id ? status.leader.id + " leads in term " + status.term : "no leader";
    $("leaders").prepend(make("li", null, clock() + "  " + words));
    while ($("leaders").children.length > 8) { $("leaders").lastChild.remove(); }
    leaderSeen = now;
};

const drawHints = () => {
    const box = $("hint-list");
    $("hints").hidden = !status.hints.length || Boolean(failing);
    status.hints.forEach((hint, i) => {
        if (!box.children[i]) { box.append(make("li")); }
        text(box.children[i], hint);
    });
    while (box.children.length > status.hints.length) { box.lastChild.remove(); }
};

const drawCluster = () => {
    if (!status) {
        state($("verdict"), "wait");
        text($("verdict-word"), me.auth && !may("status") ? "Not shown" : failing ? "No answer" : "Loading");
        text($("verdict-text"), me.auth && !may("status") ? "The permission status is needed for this view." : "");
        return;
    }
    const [kind, word, words] = verdict();
    state($("verdict"), kind);
    text($("verdict-word"), word);
    text($("verdict-text"), words);
    drawHints();
    plot("writes", (value) => value < 10 && value % 1 ? value.toFixed(1) : number(value));
    plot("commit", ms);
    drawMembers();
    drawFacts();
    drawLeaders();
    const leader = nodes.find((node) => node.leader);
    text($("from"), status.role === "leader" || !leader ? "" : "As " + status.me.id + " sees it: lag and round trip are known at the leader, " + leader.id + (leader.http ? ", at http://" + leader.http + "/ui" : "") + ".");
};

// ---- views ----

let view = "";
const stream = { state: "none" };
const draw = () => {
    live();
    if (status) { text($("where"), status.me.id + "  cluster " + status.cluster.slice(0, 8)); }
    document.title = (failing ? "No answer: " : "") + (status ? status.me.id + " \u2013 " : "") + "craftd";
    if (view === "cluster") { drawCluster(); }
};
const show = () => {
    view = location.hash.startsWith("#keys") ? "keys" : "cluster";
    for (const name of ["cluster", "keys"]) {
        $(name).hidden = view !== name;
        if (view === name) { $("nav-" + name).setAttribute("aria-current", "page"); } else { $("nav-" + name).removeAttribute("aria-current"); }
    }
    poll();
    draw();
};

const start = async () => {
    $("login").onsubmit = signIn;
    $("login-cancel").onclick = () => { $("login").hidden = true; };
    $("sign").onclick = signOut;
    addEventListener("hashchange", show);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) { poll(); } });
    for (;;) {
        try {
            await identify();
            break;
        } catch (error) {
            failing = failing || Date.now();
            live();
            await new Promise((resolve) => setTimeout(resolve, EVERY));
        }
    }
    if (me.auth && !me.perms.some((perm) => perm !== "ready")) { login("This cluster asks who you are (--auth)."); }
    show();
};
start();
