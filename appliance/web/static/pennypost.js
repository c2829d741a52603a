/* Small comforts; every page works without this file.
 *
 *   [data-live=SECONDS]   the element is fetched again from its own page and replaced
 *   [data-load=URL]       the element is filled from URL once (slow looks, such as DNS)
 *   [data-copy]           a button that copies the text of the element it names
 *   [data-meter]          a password field whose strength the element it names shows
 *   [data-pick-all]       a box that ticks all boxes of the name it gives
 */
"use strict";

(() => {
  const failuresBeforeReload = 5;

  async function fragment(url, id) {
    const answer = await fetch(url, { credentials: "same-origin", headers: { "X-Fragment": "1" } });
    if (answer.redirected) { location.assign(answer.url); return null; }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    return page.getElementById(id);
  }

  function live(element) {
    let failures = 0;
    const look = async () => {
      const here = document.getElementById(element.id);
      if (!here || !here.dataset.live) return;
      try {
        const fresh = await fragment(location.href, here.id);
        failures = 0;
        if (!fresh) return;
        if (fresh.innerHTML !== here.innerHTML) here.replaceWith(fresh);
        if (!fresh.dataset.live) { ready(fresh); return; }
      } catch {
        // The front is being reloaded, perhaps with another certificate: after a while let the
        // browser itself ask, so that it can show its warning.
        failures += 1;
        if (failures >= failuresBeforeReload) { location.reload(); return; }
      }
      setTimeout(look, Number(element.dataset.live) * 1000);
    };
    setTimeout(look, Number(element.dataset.live) * 1000);
  }

  async function load(element) {
    try {
      const fresh = await fragment(element.dataset.load, element.id);
      if (fresh) { element.replaceWith(fresh); ready(fresh); }
    } catch { /* what stands there already says how to look again */ }
  }

  function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    if (!source || !navigator.clipboard) return;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(source.textContent.trim());
      const said = button.textContent;
      button.textContent = button.dataset.done;
      setTimeout(() => { button.textContent = said; }, 2000);
    });
  }

  // The same rule as appliance/accounts/passwords.py; a test compares them.
  const common = ["password", "passwort", "passw0rd", "kennwort", "letmein", "welcome", "willkommen",
    "qwertz", "qwerty", "asdfgh", "admin", "administrator", "pennypost", "secret", "geheim",
    "mailserver", "iloveyou", "hallo", "sommer", "winter", "summer", "schatz", "changeme"];
  const runs = ["0123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "qwertzuiop", "asdfghjkl"];

  function strength(password, name) {
    const letters = [...password];
    if (letters.length < 10 || letters.length > 200) return 0;
    let lowered = password.toLowerCase();
    for (const word of [...common, name.toLowerCase()]) {
      if ([...word].length >= 4) lowered = lowered.replaceAll(word, "");
    }
    let worth = 0;
    let previous = "";
    for (const letter of lowered) {
      const pair = previous + letter;
      const follows = previous !== "" && runs.some(
        (run) => run.includes(pair) || [...run].reverse().join("").includes(pair));
      if (letter !== previous && !follows) worth += 1;
      previous = letter;
    }
    const kinds = [/\p{Ll}/u, /\p{Lu}/u, /\p{Nd}/u, /[^\p{L}\p{N}]/u].filter((k) => k.test(password));
    const points = worth + 2 * (kinds.length - 1);
    return points < 9 ? 1 : points < 14 ? 2 : points < 19 ? 3 : 4;
  }
  window.pennypostStrength = strength;

  function meter(input) {
    const shown = document.getElementById(input.dataset.meter);
    if (!shown) return;
    const words = shown.dataset.words.split("|");
    const name = () => document.getElementById(input.dataset.name)?.value ?? "";
    const draw = () => {
      const score = strength(input.value, name());
      shown.dataset.score = String(score);
      shown.querySelector("p").textContent = input.value ? words[score] : "";
    };
    input.addEventListener("input", draw);
    shown.hidden = false;
    draw();
  }

  function pickAll(box) {
    box.addEventListener("change", () => {
      for (const other of document.getElementsByName(box.dataset.pickAll)) other.checked = box.checked;
    });
  }

  function ready(root) {
    const each = (selector, work) => {
      if (root.matches?.(selector)) work(root);
      root.querySelectorAll(selector).forEach(work);
    };
    each("[data-live]", live);
    each("[data-load]", load);
    each("[data-copy]", copy);
    each("[data-meter]", meter);
    each("[data-pick-all]", pickAll);
  }
  ready(document);
})();
