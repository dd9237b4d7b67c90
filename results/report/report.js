// Shows the title of a mark at the pointer at once, where a browser would wait. Without it titles still show.
// What is folded is unfolded for paper.
(function () {
  addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll("details")) folded.open = true;
  });
  const tip = document.createElement("div");
  tip.id = "tip";
  document.body.appendChild(tip);
  for (const title of document.querySelectorAll("svg title")) {
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
