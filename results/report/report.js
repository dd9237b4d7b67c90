// Draws the charts, shows the titles of other marks at the pointer at once, and lists what was selected.
// What is folded is unfolded for paper.
(function () {
  addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll("details")) folded.open = true;
  });

  // Colours are named in the figures, and looked up in the page's style, which knows light and dark.
  function coloured(node) {
    if (Array.isArray(node)) return node.map(coloured);
    if (node === null || typeof node !== "object") return node;
    const style = getComputedStyle(document.documentElement);
    const found = {};
    for (const [key, value] of Object.entries(node)) {
      const named = typeof value === "string" && key.endsWith("color") && value.startsWith("@");
      found[key] = named ? style.getPropertyValue("--" + value.slice(1)).trim() : coloured(value);
    }
    return found;
  }

  const options = {
    responsive: true,
    displaylogo: false,
    modeBarButtonsToAdd: ["select2d", "lasso2d"],
    modeBarButtonsToRemove: ["autoScale2d"],
  };
  function drawAll() {
    for (const place of document.querySelectorAll(".plot")) {
      const figure = coloured(JSON.parse(place.dataset.figure));
      figure.layout.font = { family: getComputedStyle(document.body).fontFamily, size: 12 };
      Plotly.react(place, figure.data, figure.layout, options);
      if (place.nextElementSibling?.className === "picked") continue;
      const picked = document.createElement("ul");
      picked.className = "picked";
      place.after(picked);
      const list = (event) => {
        const tips = (event?.points ?? []).map((point) => point.hovertext).filter(Boolean);
        picked.replaceChildren(...tips.map((words) => {
          const item = document.createElement("li");
          item.innerHTML = words; // escaped where the page was made
          return item;
        }));
      };
      place.on("plotly_selected", list);
      place.on("plotly_deselect", () => list(null));
    }
  }
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);

  const tip = document.createElement("div");
  tip.id = "tip";
  document.body.appendChild(tip);
  for (const title of document.querySelectorAll("main svg:not(.main-svg) title")) {
    const mark = title.parentNode;
    const words = title.textContent;
    mark.setAttribute("aria-label", words);
    title.remove();
    mark.addEventListener("pointerenter", () => {
      tip.textContent = words;
      tip.style.display = "block";
    });
    mark.addEventListener("pointermove", (event) => {
      const x = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
      const below = event.clientY + 16;
      const y = below + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 12 : below;
      tip.style.left = x + "px";
      tip.style.top = y + "px";
    });
    mark.addEventListener("pointerleave", () => (tip.style.display = "none"));
  }
})();
