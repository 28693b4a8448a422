// The settings panel. Values are remembered on this machine; the token only until the tab is closed.

const DEFAULTS = { temperature: 0.8, top_p: 0.95, max_tokens: 256, system: "" };
const STORE = "hanlin.settings";
const MODEL = "hanlin.model";
const at = (id) => document.getElementById(id);

export const settings = { ...DEFAULTS, ...remembered() };
export const secret = { token: read(sessionStorage, "hanlin.token") ?? "" };

/** Connect the panel. Its fields have the ids of the settings they change. */
export function connectSettings() {
  for (const name of Object.keys(DEFAULTS)) {
    at(name).addEventListener("input", () => change(name, at(name).value));
  }
  at("token").addEventListener("input", () => {
    secret.token = at("token").value.trim();
    write(sessionStorage, "hanlin.token", secret.token);
  });
  at("open-settings").addEventListener("click", () => at("settings").showModal());
  at("settings-form").addEventListener("submit", (event) => {
    event.preventDefault();
    at("settings").close();
  });
  at("reset-settings").addEventListener("click", () => {
    Object.assign(settings, DEFAULTS);
    keep();
    show();
  });
  // A click beside the panel lands on the dialog itself.
  at("settings").addEventListener("click", (event) => event.target === at("settings") && at("settings").close());
  at("settings").addEventListener("close", show);
  show();
}

/** The longest reply depends on the model. */
export function showLimit(limit) {
  at("max_tokens").max = limit;
  at("max_tokens-help").textContent = `1 到 ${limit}；到了上限，回答會在句中停下。`;
}

/** The model that was chosen last, as far as it is served still. */
export function rememberedModel() {
  return read(sessionStorage, MODEL) ?? "";
}

export function rememberModel(name) {
  write(sessionStorage, MODEL, name);
}

export function askForToken() {
  at("token-field").hidden = false;
}

function change(name, text) {
  if (name === "system") settings.system = text;
  else if (text !== "" && at(name).checkValidity()) settings[name] = Number(text);
  keep();
  showOutputs();
}

function show() {
  for (const name of Object.keys(DEFAULTS)) at(name).value = settings[name];
  showOutputs();
}

function showOutputs() {
  for (const name of ["temperature", "top_p"]) at(`${name}-value`).textContent = settings[name].toFixed(2);
}

function keep() {
  write(localStorage, STORE, JSON.stringify(settings));
}

function remembered() {
  try {
    const found = JSON.parse(read(localStorage, STORE) ?? "{}");
    const sameKind = (name) => typeof found[name] === typeof DEFAULTS[name];
    return Object.fromEntries(Object.keys(DEFAULTS).filter(sameKind).map((name) => [name, found[name]]));
  } catch {
    return {};
  }
}

// A browser that blocks storage still chats; it only forgets.
function read(store, key) {
  try {
    return store.getItem(key);
  } catch {
    return null;
  }
}

function write(store, key, value) {
  try {
    store.setItem(key, value);
  } catch {
    // nothing to do: see above
  }
}
