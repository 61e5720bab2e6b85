// The page at which a security key answers. It has no token and gets none: it fetches by a code what is asked, and
// brings back what the key said. The code is in the address's fragment, which no server sees, and serves once.
"use strict";

const byId = (id) => document.getElementById(id);

function bytes(text) {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
}

function text(buffer) {
  const plain = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(plain).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

async function post(path, body) {
  const answer = await fetch(`/v1/sys/mfa/browser/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Vault-Request": "true" },
    body: JSON.stringify(body),
    credentials: "omit",
    redirect: "error",
  });
  if (answer.status === 204) return null;
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error((told.errors || [])[0] || `the server answered ${answer.status}`);
  return told.data;
}

function say(words, isBad) {
  byId("what").textContent = words;
  byId("what").className = isBad ? "bad" : "";
}

function named(list) {
  return (list || []).map((one) => ({ ...one, id: bytes(one.id) }));
}

async function register(options) {
  const publicKey = { ...options, challenge: bytes(options.challenge) };
  publicKey.user = { ...options.user, id: bytes(options.user.id) };
  publicKey.excludeCredentials = named(options.excludeCredentials);
  const made = await navigator.credentials.create({ publicKey });
  const transports = made.response.getTransports ? made.response.getTransports() : [];
  return answered(made, {
    attestationObject: text(made.response.attestationObject),
    clientDataJSON: text(made.response.clientDataJSON),
    transports,
  });
}

async function sign(options) {
  const publicKey = { ...options, challenge: bytes(options.challenge) };
  publicKey.allowCredentials = named(options.allowCredentials);
  const signed = await navigator.credentials.get({ publicKey });
  const user = signed.response.userHandle;
  return answered(signed, {
    authenticatorData: text(signed.response.authenticatorData),
    clientDataJSON: text(signed.response.clientDataJSON),
    signature: text(signed.response.signature),
    userHandle: user ? text(user) : null,
  });
}

function answered(key, response) {
  return { id: key.id, rawId: text(key.rawId), type: key.type, response, extensions: {} };
}

async function use(asked) {
  byId("go").disabled = true;
  say("Touch your security key, or do what your browser asks.");
  const options = asked.options.publicKey;
  let answer;
  try {
    answer = await (asked.act === "register" ? register(options) : sign(options));
  } catch (error) {
    await post("answer", { page: asked.page, failed: error.name || "the key did not answer" });
    throw new Error(`the key did not answer (${error.name}): begin anew in your terminal`);
  }
  await post("answer", { page: asked.page, answer });
  byId("go").hidden = true;
  byId("warning").hidden = true;
  say("Done. Go back to your terminal; you can close this page.");
}

function show(asked) {
  const isNew = asked.act === "register";
  byId("title").textContent = isNew ? "Register a security key" : "Show your security key";
  byId("who").textContent = asked.who || "somebody without a name";
  byId("address").textContent = asked.address || "this machine";
  byId("place").textContent = location.host;
  for (const id of ["facts", "warning", "go"]) byId(id).hidden = false;
  say(isNew ? "Your terminal asks to register a key." : "Your terminal asks for your second factor.");
  byId("go").addEventListener("click", () => use(asked).catch((error) => say(error.message, true)));
}

async function begin() {
  const code = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  if (!code) throw new Error("This page is opened by a terminal: dewdrop login, dewdrop mfa register.");
  if (!window.PublicKeyCredential) {
    throw new Error("This browser has no security keys here: they need https (or localhost) and a current browser.");
  }
  show(await post("take", { code }));
}

begin().catch((error) => say(error.message, true));
