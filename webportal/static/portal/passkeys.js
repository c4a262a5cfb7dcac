/* Passkeys: the page holds the question, the browser's answer goes into the form's field `credential`. */
"use strict";

const decoded = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
const encoded = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const descriptors = (list) => list?.map((one) => ({ ...one, id: decoded(one.id) }));

/* What PublicKeyCredential.parse…FromJSON and toJSON do; not every browser has them yet. */
function question(json) {
  const asked = { ...json, challenge: decoded(json.challenge) };
  if (json.user) asked.user = { ...json.user, id: decoded(json.user.id) };
  if (json.excludeCredentials) asked.excludeCredentials = descriptors(json.excludeCredentials);
  if (json.allowCredentials) asked.allowCredentials = descriptors(json.allowCredentials);
  return asked;
}
function answer(credential) {
  const response = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[name]) response[name] = encoded(credential.response[name]);
  }
  const { id, type } = credential;
  return JSON.stringify({ id, rawId: encoded(credential.rawId), type, response, clientExtensionResults: {} });
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!window.PublicKeyCredential) continue;
  const problem = form.querySelector("[data-problem]");
  const asked = JSON.parse(document.getElementById("passkey-question").textContent);
  form.querySelector("[data-unsupported]").hidden = true;
  form.querySelector("button").hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.hidden = true;
    try {
      form.elements.credential.value = answer(await navigator.credentials[form.dataset.passkey]({ publicKey: question(asked) }));
    } catch {
      problem.textContent = form.dataset.failed;
      problem.hidden = false;
      return;
    }
    form.submit();
  });
}
